"""Class folders without a CSV: the rows that prepare would give them."""

from pathlib import Path

import pytest
from helpers import small_config
from PIL import Image

from paddle_alexnet import Predictor, UserError, train
from paddle_alexnet.data.prepare.preparation import prepare
from paddle_alexnet.data.table import check_there, read_table
from paddle_alexnet.evaluation import evaluate


def make_tree(root: Path, folders: dict[str, int]) -> Path:
    """So many images in each folder."""
    for number, (folder, count) in enumerate(folders.items()):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (20, 20 + index), (9 * number, 250, 5 * index)).save(root / folder / f"{index}.png")
    return root


@pytest.mark.parametrize(
    "folders",
    [
        {"cat": 10, "dog": 10, "n02114548": 5},
        {"train/cat": 10, "train/dog": 10},
        {"train/cat": 5, "train/dog": 5, "valid/cat": 5, "valid/dog": 5},
        {"train/cat": 5, "train/dog": 5, "val/cat": 2, "val/dog": 2, "test/cat": 2, "test/dog": 3, "more/cat": 3},
        {"train": 9, "car": 9, "car/old/red": 4},
    ],
)
def test_images_have_the_classes_and_splits_that_prepare_gives_them(tmp_path, folders):
    root = make_tree(tmp_path / "tree", folders)
    (root / ".hidden").mkdir()
    for name in ("cat.txt", ".hidden/a.png", ".a.png"):
        (root / name).write_bytes(b"")
    prepare(root, tmp_path / "prepared")

    def found(root: Path) -> tuple[tuple[str, ...], set[tuple[bytes, int, int]]]:
        table = read_table(root)
        contents = ((root / name).read_bytes() for name in table.filenames)
        return table.classes.names, set(zip(contents, table.labels.tolist(), table.splits.tolist()))

    assert found(root) == found(tmp_path / "prepared")
    assert check_there(root) == root


@pytest.mark.parametrize("folders", [{}, {"images": 4}, {"train/cat": 4}, {"cat": 0, "dog": 0}])
def test_what_is_neither_is_one_line(tmp_path, folders):
    root = make_tree(tmp_path / "tree", folders)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"tree.*labels\.csv.*prepare-data makes one"):
        read_table(root)


def test_a_tree_is_trained_on_and_evaluated_and_a_broken_image_is_named(tmp_path):
    root = make_tree(tmp_path / "tree", {"cat": 10, "dog": 10})
    results = train(small_config(root, tmp_path / "run", "train.epochs=1"))
    assert evaluate(Predictor(results.output), split="test").images == 4
    assert not list(root.glob("*.*")), "nothing is written there"
    (root / "cat" / "3.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"^\S*tree/cat/3\.png: unreadable image \(not an image\)"):
        train(small_config(root, tmp_path / "run2", "data.verify=true"))
