"""A split of a table: images by index, and those that cannot be read."""

import numpy as np
import pytest
from helpers import truncate
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.data.cache import open_cache
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages, verify_images
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table

SQUASH = Preprocess(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_image_and_label_by_index(root):
    Image.new("RGB", (40, 20), (255, 0, 50)).save(root / "red.png")
    (root / "labels.csv").write_text("filename,label,split\nred.png,cat,train\nred.png,dog,val\n")
    (root / "classes.txt").unlink()
    dataset = PatchDataset(read_table(root), "val", SQUASH)
    [(image, label)] = [dataset[0]]
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8 and label == 1
    assert (image == (255, 0, 50)).all()


def test_patches_of_the_readable_and_messages_of_the_others(root):
    dataset = PatchDataset(read_table(root), "train", SQUASH)
    whole, none = dataset.patches([3, 4, 5])
    assert whole.shape == (3, 3, 32, 32) and none == {}
    truncate(dataset.path(4))
    patches, unreadable = dataset.patches([3, 4, 5])
    np.testing.assert_array_equal(patches, whole[[0, 2]])
    assert list(unreadable) == [4] and dataset.path(4).name in unreadable[4]


def test_by_default_the_first_unreadable_image_ends_the_run_with_its_line(root):
    """Also where blank lines stand before it."""
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text.replace("\n", "\n\n"))
    dataset = PatchDataset(read_table(root), "train", SQUASH)
    truncate(dataset.path(4))
    name = dataset.path(4).name
    line = next(n for n, row in enumerate((root / "labels.csv").read_text().splitlines(), 1) if name in row)

    def cache(limit: int = 0) -> None:
        open_cache("disk", dataset, root.parent / "cache", unreadable=UnreadableImages(limit), workers=2)

    for read in (
        lambda: list(Loader(dataset, SQUASH, batch_size=8)),
        cache,
        lambda: verify_images(dataset, UnreadableImages(), workers=2),
        lambda: dataset[4],
    ):
        with pytest.raises(UserError, match=rf"labels\.csv, line {line}: .*{name}") as error:
            read()
        assert "\n" not in str(error.value)
    cache(limit=1)
    with pytest.raises(UserError, match=rf"line {line}"):  # the cache remembers what it lacks
        cache()


def test_verifying_tells_of_all_where_they_are_too_many(root, caplog):
    dataset = PatchDataset(read_table(root), "train", SQUASH)
    for index in (4, 7, 9):
        truncate(dataset.path(index))
    with pytest.raises(UserError, match=rf"{dataset.path(4).name}.* \(and 2 more such images\)"):
        verify_images(dataset, UnreadableImages(2), workers=2)
    unreadable = UnreadableImages(3)
    verify_images(dataset, unreadable, workers=2)
    assert len(unreadable.messages) == 3 == caplog.text.count("skipped: ")
