"""A data set as users bring it: what is read and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.data.classes import ClassList, imagenet_words
from paddle_alexnet.data.dataset import LabelledImages
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table

PREPROCESS = Preprocess(image_size=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CSV = ",filename,label,split\n0,a.png,cat,train\n1,b.png,n02114548,train\n2,sub/c.png,cat,val\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for index, name in enumerate(("a.png", "b.png", "sub/c.png")):
        Image.new("RGB", (40, 20 + index), (255, 0, 50 * index)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text(CSV)
    (tmp_path / "classes.txt").write_text("n02114548 white wolf\ncat\n")
    return tmp_path


def test_class_list_gives_the_order_and_labels_may_be_names_or_wnids(root):
    table = read_table(root)
    assert table.classes.names == ("white wolf", "cat")
    assert list(table.labels) == [1, 0, 1]
    (root / "labels.csv").write_text(CSV.replace("n02114548", "white wolf"))
    assert list(read_table(root).labels) == [1, 0, 1]


def test_without_a_class_list_the_sorted_labels_are_it(root):
    (root / "classes.txt").unlink()
    table = read_table(root)
    assert table.classes.names == ("cat", "white wolf")  # a wnid gets ImageNet's own name
    assert table.classes.wnids == (None, "n02114548")


def test_dataset_and_loader_give_the_network_s_input(root):
    dataset = LabelledImages(read_table(root), "train", PREPROCESS)
    image, label = dataset[0]
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8 and label == 1
    (batch, labels), *rest = Loader(dataset, PREPROCESS, batch_size=8)
    assert not rest and list(labels.numpy()) == [1, 0]
    red = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    np.testing.assert_allclose(batch.numpy()[0, :, 5, 5], red, rtol=1e-5)
    assert batch.shape == [2, 3, 32, 32]


def test_every_epoch_has_its_own_order_and_every_image_once(demo_set):
    dataset = LabelledImages(read_table(demo_set), "train", PREPROCESS)
    dataset.labels = np.arange(len(dataset))
    loaders = [Loader(dataset, PREPROCESS, batch_size=7, shuffle=True, seed=3, workers=w) for w in (1, 4)]
    first, second, again = (
        [int(i) for _, batch in loader for i in batch] for loader in (loaders[0], loaders[0], loaders[1])
    )
    assert first == again != second
    assert sorted(first) == sorted(second) == list(range(30))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text.replace("cat,val", "dog,val"), r"line 4: unknown label 'dog'"),
        (
            lambda text: text.replace("cat,val", "cat,valid"),
            r"line 4: unknown split 'valid': use train, val, test",
        ),
        (lambda text: text.replace("b.png", "gone.png"), r"line 3: no file .*gone\.png"),
        (lambda text: text.replace("b.png", "../b.png"), r"line 3: .*leaves the data folder"),
        (lambda text: text.replace("b.png", "/etc/hosts"), r"line 3: .*leaves the data folder"),
        (lambda text: text.replace("label", "class"), r"no column 'label'; it has .*'class'"),
        (lambda text: text.replace("cat,val", "cat,train"), r"split 'val' is empty"),
        (lambda text: "", r"cannot read the CSV"),
        (lambda text: text + "5,x\n1,2,3,4,5,6,7\n", r"cannot read the CSV"),
    ],
)
def test_a_bad_csv_names_the_line_and_the_remedy(root, change, words):
    (root / "labels.csv").write_text(change(CSV))
    with pytest.raises(UserError, match=words) as error:
        read_table(root).rows("val")
    assert "labels.csv" in str(error.value)


def test_missing_folder_csv_and_class_list_are_one_line(root):
    for arguments in ((root / "gone",), (root, root / "gone.csv"), (root, None, root / "gone.txt")):
        with pytest.raises(UserError, match="gone"):
            read_table(*arguments)


def test_class_listed_twice_is_refused(root):
    (root / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(UserError, match="'cat' is listed twice"):
        read_table(root)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK", "LA", "1"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (50, 40)).save(path)
        assert PREPROCESS(path).shape == (32, 32, 3)


def test_imagenet_s_thousand_classes_have_distinct_names():
    classes = ClassList.from_lines([f"{wnid} {words}" for wnid, words in imagenet_words().items()], "built-in")
    assert len(set(classes.names)) == len(classes) == 1000
    assert ClassList.from_lines(classes.lines(), "again").wnids == classes.wnids
