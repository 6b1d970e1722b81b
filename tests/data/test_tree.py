"""Class folders without a CSV: the rows that prepare would give them."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_user_error, run_tool, small_config
from PIL import Image

from paddle_alexnet import Predictor, UserError, train
from paddle_alexnet.data import tree
from paddle_alexnet.data.findings import faults
from paddle_alexnet.data.formats import HEIC_SUFFIXES, IMAGE_SUFFIXES
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.data.table import check_there, read_table
from paddle_alexnet.datasets.inspect.inspection import fix, inspect
from paddle_alexnet.datasets.prepare.preparation import prepare
from paddle_alexnet.datasets.prepare.sources import find_classes
from paddle_alexnet.evaluation.evaluate import evaluate


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
def test_read_table_of_a_folder_without_table_or_classes_raises(tmp_path, folders):
    root = make_tree(tmp_path / "tree", folders)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"tree.*labels\.csv.*create .* prepare-data"):
        read_table(root)


def test_folders_called_by_wnid_and_words_are_classes(tmp_path):
    table = read_table(make_tree(tmp_path / "photos", {"n01440764 tench, Tinca": 4, "n02102040 dog": 4, "cat": 4}))
    assert table.classes.names == ("cat", "tench", "dog")
    assert table.classes.wnids == (None, "n01440764", "n02102040")
    assert [list(table.labels).count(index) for index in range(3)] == [4, 4, 4]


def test_a_tree_is_trained_on_and_evaluated_and_a_broken_image_is_named(tmp_path):
    root = make_tree(tmp_path / "tree", {"cat": 10, "dog": 10})
    results = train(small_config(root, tmp_path / "run", "train.epochs=1"))
    assert evaluate(Predictor(results.output), split="test").images == 4
    assert not list(root.glob("*.*")), "nothing is written there"
    (root / "cat" / "3.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"^\S*tree/cat/3\.png: unreadable image \(not an image\)"):
        train(small_config(root, tmp_path / "run2", "data.verify=true"))


def test_training_says_what_it_leaves_out_and_follows_links_that_lead_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(tree, "IMAGE_SUFFIXES", IMAGE_SUFFIXES - HEIC_SUFFIXES)  # as without pillow-heif
    sizes = {"train/cat": 4, "train/dog": 4, "train/owl": 0, "val/cat": 2, "val/dog": 2, "testing/cat": 2, "old/cat": 3}
    root = make_tree(tmp_path / "tree", sizes)
    store = make_tree(tmp_path / "store", {"more": 2}) / "more"
    (root / "train" / "dog" / "more").symlink_to(store)
    (store / "back").symlink_to(root)
    (store / "again").symlink_to(store)
    (root / "train" / "dog" / "val").symlink_to(root / "val" / "dog")
    (root / "train" / "dog" / "b.heic").write_bytes(b"")
    (root / "train" / "cat" / "me").symlink_to("me")
    table = read_table(root)
    assert [(table.splits == split).sum() for split in range(3)] == [10, 4, 2]
    train(small_config(root, tmp_path / "run", "train.epochs=1", "train.report=false"))
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"{root}: ")]
    assert [line.removeprefix(f"{root}: ") for line in said] == [
        "used: testing as test",
        "left out: old, not a split but beside train",
        "used: 2 images in subfolders of class folders",
        "left out: 1 classes without images, such as train/owl",
        "left out: 3 links to folders inside the tree, such as train/dog/more/again",
        "left out: 2 other files (no suffix 1, .heic 1), such as train/cat/me"
        '; for .heic: pip install "paddle-alexnet[heic]"',
    ]
    assert table.notes == [line.removeprefix(f"{root}: ") for line in said]


def test_a_folder_of_images_reads_links_and_says_what_it_leaves_out(tmp_path, caplog):
    root = make_tree(tmp_path / "tree", {"a": 2})
    (root / "b").symlink_to(make_tree(tmp_path / "store", {"b": 1}) / "b")
    (root / "x.txt").touch()
    assert [path.relative_to(root).as_posix() for path in find_images([root])] == ["a/0.png", "a/1.png", "b/0.png"]
    assert caplog.messages == [f"{root}: left out: 1 other files (.txt 1), such as x.txt"]


@pytest.mark.skipif(".heic" in IMAGE_SUFFIXES, reason="pillow-heif is installed")
@pytest.mark.parametrize("read", [read_table, lambda root: find_images([root]), lambda root: find_classes(root)])
def test_a_folder_of_heic_alone_names_the_extra(tmp_path, read):
    for name in ("cat/a.heic", "dog/b.HEIC"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r'pip install "paddle-alexnet\[heic\]"'):
        read(tmp_path)


@pytest.mark.skipif(".heic" in IMAGE_SUFFIXES, reason="pillow-heif is installed")
@pytest.mark.parametrize("words", [("train",), ("inspect-data",), ("prepare-data", "--output", "out", "--source")])
def test_a_flat_folder_of_heic_alone_names_the_extra(tmp_path, words):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.heic").touch()
    result = run_tool(*words, tmp_path / "photos", cwd=tmp_path)
    assert_user_error(result, "photos: has no images", 'pip install "paddle-alexnet[heic]"')


def test_class_folders_are_inspected_and_fixed_as_they_are_trained_on(tmp_path):
    root = make_tree(tmp_path / "tree", {"cat": 10, "dog": 10})
    noise = np.random.default_rng(0)
    for path in root.rglob("*.png"):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3), np.uint8)).resize((64, 64)).save(path)
    assert faults(inspect(root).findings) == []
    (root / "cat" / "3.png").write_bytes(b"no")
    (root / "dog" / "3.png").write_bytes((root / "dog" / "4.png").read_bytes())
    (root / "notes.txt").touch()
    inspection = inspect(root)
    [unreadable] = [finding for finding in inspection.findings if finding.kind == "unreadable"]
    assert str(unreadable) == "cat/3.png: unreadable (not an image)"
    [copy] = [finding for finding in inspection.findings if finding.kind in ("leak", "duplicate")]
    assert re.fullmatch(r"dog/[34]\.png: in \w+; the same as dog/[34]\.png, in \w+", str(copy))
    assert "left out: 1 other files (.txt 1), such as notes.txt" in [finding.detail for finding in inspection.findings]
    before = read_table(root)
    assert fix(inspection).startswith(f"wrote {root / 'labels.csv'} without 2 rows")
    after = read_table(root)
    splits = dict(zip(before.filenames, before.splits))
    assert set(before.filenames) - set(after.filenames) == {"cat/3.png", copy.file}
    assert all(splits[name] == split for name, split in zip(after.filenames, after.splits))
    assert faults(inspect(root).findings) == []
