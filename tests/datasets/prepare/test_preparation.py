"""Preparing data: every kind of source, the splits, and what a user can get wrong."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers import REPOSITORY, file_contents, make_tar, make_train_tar, make_tree, picture, rows_of, run_tool
from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.splits import SPLITS
from paddle_alexnet.data.table import read_table
from paddle_alexnet.datasets.prepare import preparation
from paddle_alexnet.datasets.prepare.preparation import FLUID_CLASSES, parse_classes, prepare
from paddle_alexnet.system.errors import UserError

HOUND, WOLF, MEERKAT = "n02091244", "n02114548", "n02138441"


def counts(root: Path) -> dict[tuple[str, str], int]:
    return dict(Counter((label, split) for _, label, split in rows_of(root)))


# Sources


def test_class_folders(tmp_path):
    source = make_tree(tmp_path / "src", {WOLF: 10, HOUND: 100, "cat": 5})
    prepared = prepare(source, tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().startswith(",filename,label,split\n0,images/")
    assert ClassList.read(prepared.classes).lines() == ["cat", f"{HOUND} Ibizan hound", f"{WOLF} white wolf"]
    rows = rows_of(prepared.root)
    assert len(rows) == 115
    for filename, label, _ in rows:
        assert (prepared.root / filename).read_bytes() == (source / label / Path(filename).name).read_bytes()
    assert prepared.counts.loc[f"{HOUND} Ibizan hound"].tolist() == [70, 10, 20, 100]
    assert prepared.counts.loc["total", "total"] == 115
    assert not prepared.notes


def test_images_in_folders_within_a_class_keep_their_place(tmp_path):
    source = make_tree(tmp_path / "src", {"cat": 2, "cat/2019": 2, "dog": 2})
    prepared = prepare(source, tmp_path / "out")
    assert file_contents(tmp_path / "out" / "images") == file_contents(source)
    assert prepared.notes == ("used: 2 images in subfolders of class folders",)


def test_labels_stay_text(tmp_path):
    labels = ["0", "02", "1", "1e3", "NA", "True", "nan"]
    root = prepare(make_tree(tmp_path / "src", dict.fromkeys(labels, 4)), tmp_path / "out").root
    assert {label for _, label, _ in rows_of(root)} == set(labels)
    table = read_table(root)
    assert list(table.classes.names) == labels
    for filename, label in zip(table.filenames, table.labels):
        assert filename.split("/")[1] == labels[label]


def test_train_and_val_folders_draw_test_from_val(tmp_path):
    source = make_tree(tmp_path / "src", {"train/a": 4, "train/b": 4, "val/a": 30, "val/b": 30})
    prepared = prepare(source, tmp_path / "out")
    assert prepared.notes == ("divided: the source's 60 val images, into 20 val and 40 test",)
    expected = {"train": 4, "val": 10, "test": 20}
    assert counts(tmp_path / "out") == {(c, s): n for s, n in expected.items() for c in "ab"}
    # 000.JPEG is in train/a and in val/a: neither may replace the other.
    written = {path.read_bytes() for path in (tmp_path / "out" / "images" / "a").iterdir()}
    assert written == {path.read_bytes() for path in source.glob("*/a/*")}


def test_split_folders_are_kept(tmp_path):
    given = {"train": 3, "val": 2, "test": 5}
    source = make_tree(tmp_path / "src", {f"{s}/{c}": n for s, n in given.items() for c in "ab"})
    prepare(source, tmp_path / "out")
    assert counts(tmp_path / "out") == {(c, s): n for c in "ab" for s, n in given.items()}


def test_train_and_test_folders_draw_val_from_train(tmp_path):
    source = make_tree(tmp_path / "src", {"train/a": 80, "train/b": 80, "test/a": 5, "test/b": 5})
    prepare(source, tmp_path / "out")
    expected = {"train": 70, "val": 10, "test": 5}
    assert counts(tmp_path / "out") == {(c, s): n for s, n in expected.items() for c in "ab"}


def test_archive_gives_the_fluid_classes_in_order(tmp_path):
    wnids = [line.split()[0] for line in FLUID_CLASSES]
    make_train_tar(tmp_path / "src", sorted([*wnids, "n01440764"]), 10)
    prepared = prepare(tmp_path / "src", tmp_path / "out")
    assert ClassList.read(prepared.classes).lines() == list(FLUID_CLASSES)
    rows = rows_of(prepared.root)
    assert len(rows) == 100
    for filename, _, _ in rows:
        assert (prepared.root / filename).read_bytes() == picture(Path(filename).name)


def test_archive_with_labeled_validation_images(tmp_path):
    wnids = ["n01440764", "n01443537"]
    train = make_train_tar(tmp_path / "src", wnids, 5)
    labels = {f"ILSVRC2012_val_{i:08d}.JPEG": wnids[i % 2] for i in range(1, 61)}
    make_tar(train.with_name("ILSVRC2012_img_val.tar"), {name: picture(name) for name in labels})
    lines = "".join(f"{name} {wnid}\n" for name, wnid in labels.items())
    (tmp_path / "src" / "labels_val.txt").write_text(lines)
    prepared = prepare(train, tmp_path / "out", classes=parse_classes("goldfish,tench"))
    expected = {"train": 5, "val": 10, "test": 20}
    assert counts(tmp_path / "out") == {(w, s): n for s, n in expected.items() for w in wnids}
    for filename, label, _ in rows_of(tmp_path / "out"):
        name = Path(filename).name
        assert labels.get(name, label) == label
        assert (tmp_path / "out" / "images" / label / name).read_bytes() == picture(name)
    assert prepared.notes == ("divided: the source's 60 val images, into 20 val and 40 test",)


def test_damaged_archive_leaves_nothing(tmp_path):
    train = make_train_tar(tmp_path / "src", [HOUND, WOLF], 20)
    train.write_bytes(train.read_bytes()[:-20_000])
    with pytest.raises(UserError, match=r"img_train.tar: .*download"):
        prepare(train, tmp_path / "out", classes=parse_classes(f"{HOUND},{WOLF}"))
    assert not (tmp_path / "out").exists()


# Classes


def test_classes_in_the_order_asked_for(tmp_path):
    source = make_tree(tmp_path / "src", {HOUND: 3, WOLF: 3, MEERKAT: 3, "cat": 3})
    prepare(source, tmp_path / "a", classes=parse_classes(f"white wolf,cat,{HOUND}"))
    lines = ClassList.read(tmp_path / "a" / "classes.txt").lines()
    assert lines == [f"{WOLF} white wolf", "cat", f"{HOUND} Ibizan hound"]
    assert {label for _, label, _ in rows_of(tmp_path / "a")} == {WOLF, "cat", HOUND}

    (tmp_path / "list.txt").write_text(f"{MEERKAT} my meerkat\n{WOLF}\n")
    prepare(source, tmp_path / "b", classes=parse_classes(str(tmp_path / "list.txt")))
    assert ClassList.read(tmp_path / "b" / "classes.txt").names == ("my meerkat", "white wolf")


def test_class_folders_with_names_can_be_given_their_wnids(tmp_path):
    source = make_tree(tmp_path / "src", {"meerkat": 3, "white wolf": 3})
    prepare(source, tmp_path / "out", classes=parse_classes(f"{WOLF},{MEERKAT}"))
    assert ClassList.read(tmp_path / "out" / "classes.txt").wnids == (WOLF, MEERKAT)
    assert (tmp_path / "out" / "images" / WOLF).is_dir()


def test_own_synset_words(tmp_path):
    source = make_tree(tmp_path / "src", {HOUND: 3, WOLF: 3})
    (tmp_path / "words.txt").write_text(f"{HOUND} hound, dog\n")
    prepare(source, tmp_path / "out", synset_words=tmp_path / "words.txt")
    assert ClassList.read(tmp_path / "out" / "classes.txt").names == ("hound", "white wolf")


def test_unknown_class_names_the_nearest(tmp_path):
    source = make_tree(tmp_path / "src", {HOUND: 3, WOLF: 3})
    with pytest.raises(UserError, match=r"no class white wulf; .* white wolf"):
        prepare(source, tmp_path / "out", classes=parse_classes("white wulf,Ibizan hound"))
    assert not (tmp_path / "out").exists()


def test_two_cranes_need_their_wnids(tmp_path):
    source = make_tree(tmp_path / "src", {"n02012849": 3, "n03126707": 3, HOUND: 3})
    with pytest.raises(UserError, match="n02012849 and n03126707 are both called crane"):
        prepare(source, tmp_path / "a", classes=parse_classes("crane,Ibizan hound"))
    prepare(source, tmp_path / "b", classes=parse_classes(f"n03126707,{HOUND}"))
    assert {label for _, label, _ in rows_of(tmp_path / "b")} == {"n03126707", HOUND}


# Splits


def test_same_seed_same_bytes(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 30, "b": 30})
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        prepare(source, tmp_path / name, seed=seed)
    assert file_contents(tmp_path / "one") == file_contents(tmp_path / "two")
    splits = [[split for _, _, split in rows_of(tmp_path / name)] for name in ("one", "three")]
    assert splits[0] != splits[1]


def test_splits_stay_when_a_class_and_a_picture_come(tmp_path):
    source = make_tree(tmp_path / "src", {"b": 60, "c": 60})
    prepare(source, tmp_path / "one")
    make_tree(source, {"a": 20, "b": 61})
    prepare(source, tmp_path / "two")
    before, after = ({name: split for name, _, split in rows_of(tmp_path / run)} for run in ("one", "two"))
    moved = [name for name, split in before.items() if after[name] != split]
    assert len(moved) <= 2 and all(name.startswith("images/b/") for name in moved)


def test_groups_stay_together(tmp_path):
    for label in ("ill", "well"):
        for number in range(60):
            path = tmp_path / "src" / label / f"p{number % 12:02d}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(str(path)))
    root = prepare(tmp_path / "src", tmp_path / "out", group=r"^(p\d+)_").root
    splits: dict[str, set[str]] = {}
    for filename, _, split in rows_of(root):
        splits.setdefault(Path(filename).name[:3], set()).add(split)
    assert len(splits) == 12 and all(len(some) == 1 for some in splits.values())
    assert set.union(*splits.values()) == set(SPLITS)


def test_groups_of_a_table(tmp_path):
    source = make_tree(tmp_path / "src", {"x": 40})
    rows = [f"x/{number:03d}.JPEG,{'ab'[number % 2]},{number // 4}\n" for number in range(40)]
    (source / "t.csv").write_text("path,label,scene\n" + "".join(rows))
    splits: dict[int, set[str]] = {}
    for filename, label, split in rows_of(prepare(source / "t.csv", tmp_path / "out", group="scene").root):
        assert filename == f"images/{label}/{Path(filename).name}"
        splits.setdefault(int(Path(filename).stem) // 4, set()).add(split)
    assert len(splits) == 10 and all(len(some) == 1 for some in splits.values())


def test_groups_that_the_source_divides_are_told(tmp_path):
    source = make_tree(tmp_path / "src", {f"{split}/{label}": 3 for split in SPLITS for label in "ab"})
    prepared = prepare(source, tmp_path / "out", group=r"^\d+")
    assert prepared.notes == ("groups: 3 span several splits of the source, such as 000",)


@pytest.mark.parametrize(
    ("group", "message"), [("(", "or a regular expression"), ("^(p)", "not found in the name '000.JPEG'")]
)
def test_impossible_groups_are_refused(tmp_path, group, message):
    with pytest.raises(UserError, match=rf"group .* {message}"):
        prepare(make_tree(tmp_path / "src", {"a": 3, "b": 3}), tmp_path / "out", group=group)


# Writing


def test_the_source_is_not_changed(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 5, "b": 5})
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    prepare(source, tmp_path / "out")
    prepare(source, tmp_path / "links", link=True)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_links_work_from_anywhere(tmp_path, monkeypatch):
    make_tree(tmp_path / "src", {"a": 3, "b": 3})
    monkeypatch.chdir(tmp_path)
    prepare(Path("src"), Path("out"), link=True)
    monkeypatch.chdir("/")
    for filename, _, _ in rows_of(tmp_path / "out"):
        assert (tmp_path / "out" / filename).is_symlink()
        assert (tmp_path / "out" / filename).read_bytes()


def test_an_existing_folder_is_not_touched(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 3, "b": 3})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_bytes(b"keep")
    with pytest.raises(UserError, match="out: already exists and is not empty"):
        prepare(source, tmp_path / "out")
    assert file_contents(tmp_path / "out") == {"mine.txt": b"keep"}
    (tmp_path / "empty").mkdir()
    prepare(source, tmp_path / "empty")


def test_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 5, "b": 5})
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from paddle_alexnet.datasets.prepare import preparation\n"
        "written, write = [], preparation._write_image\n"
        "def write_image(*arguments, **options):\n"
        "    written.append(write(*arguments, **options))\n"
        "    len(written) < 6 or os.kill(os.getpid(), 9)\n"
        "preparation._write_image = write_image\n"
        "preparation.prepare(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run(command, env=environment, timeout=120)
    assert killed.returncode == -9
    [left_behind] = {path.name for path in tmp_path.iterdir()} - {"src"}
    assert left_behind.startswith(".out.") and left_behind.endswith(".partial")
    prepare(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"src", "out"}
    assert len(rows_of(tmp_path / "out")) == 10


def test_prepare_data_while_another_writes_the_folder_is_refused(tmp_path, monkeypatch):
    source = make_tree(tmp_path / "src", {"a": 5, "b": 5})
    write = preparation.write_tables

    def meanwhile(*arguments, **options):
        write(*arguments, **options)
        monkeypatch.setattr(preparation, "write_tables", write)
        prepare(source, tmp_path / "out", seed=1)

    monkeypatch.setattr(preparation, "write_tables", meanwhile)
    with pytest.raises(UserError, match=r"out: cannot write it .*not empty"):
        prepare(source, tmp_path / "out", seed=0)
    prepare(source, tmp_path / "alone", seed=1)
    assert file_contents(tmp_path / "out") == file_contents(tmp_path / "alone")
    assert {path.name for path in tmp_path.iterdir()} == {"src", "out", "alone"}


def test_a_copy_that_is_not_whole_is_an_error(tmp_path, monkeypatch):
    source = make_tree(tmp_path / "src", {"a": 5, "b": 5})
    victim = source / "b" / "003.JPEG"
    stat = Path.stat

    class Longer:
        st_size = victim.stat().st_size + 10

    monkeypatch.setattr(Path, "stat", lambda path, **options: Longer if path == victim else stat(path, **options))
    with pytest.raises(UserError, match=r"out: cannot write it \(only \d+ of \d+ bytes of 003.JPEG\)"):
        prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Errors


def test_unusable_classes(tmp_path):
    make_tree(tmp_path / "one", {"a": 3})
    make_tree(tmp_path / "gap", {"a": 3})
    (tmp_path / "gap" / "b").mkdir()
    make_tree(tmp_path / "val_only", {"train/a": 2, "val/a": 2, "val/b": 2})
    for name, message in {
        "nowhere": "nowhere: source not found",
        "one": "one: only a of its 1 classes",
        "gap": "gap: only a of its 2 classes",
        "val_only": "class b has no training images",
        "nul\0": "must not have a NUL",
    }.items():
        with pytest.raises(UserError, match=message):
            prepare(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_unusable_options(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 3, "b": 3})
    archive = make_train_tar(tmp_path / "tar", [HOUND, WOLF], 3)
    with pytest.raises(UserError, match="inside an archive cannot be linked"):
        prepare(archive, tmp_path / "out", link=True)
    with pytest.raises(UserError, match="is inside the source"):
        prepare(source, source / "out")
    with pytest.raises(UserError, match=r"^/: already exists and is not empty"):
        prepare(source, Path("/"))
    with pytest.raises(UserError, match=r"^seed -1"):
        prepare(source, tmp_path / "out", seed=-1)
    with pytest.raises(UserError, match="out: cannot write it"):
        prepare(source, archive / "out")
    with pytest.raises(UserError, match="file not found"):
        parse_classes("list.txt")


# The command


def test_tool_prints_the_table_and_what_is_next(tmp_path):
    source = make_tree(tmp_path / "src", {HOUND: 10, WOLF: 10})
    done = run_tool("prepare-data", "--source", source, "--output", tmp_path / "my set", "--classes", f"{WOLF},{HOUND}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["train", "val", "test", "total"]
    assert lines[1].split() == [WOLF, "white", "wolf", "7", "1", "2", "10"]
    assert lines[-1].startswith("next: ") and lines[-1].endswith(f" train -o 'data.root={tmp_path}/my set'")


def test_tool_says_what_was_left_out_and_that_a_split_is_empty(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 4, "b": 4})
    (source / "a" / "notes.txt").touch()
    done = run_tool("prepare-data", "--source", source, "--output", tmp_path / "out", "--split", "80,0,20")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "left out: 1 other files (.txt 1), such as a/notes.txt"
    assert lines[-1] == "no images in val, which training requires; change the percentages of --split"


def test_tool_fails_in_one_line(tmp_path):
    done = run_tool("prepare-data", "--source", tmp_path / "none", "--output", tmp_path / "out", "--split", "60,20,20")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: not found; name a folder")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif("ALEXNET_IMAGENETTE" not in os.environ, reason="ALEXNET_IMAGENETTE names no class folders")
def test_real_photographs(tmp_path):
    source = Path(os.environ["ALEXNET_IMAGENETTE"])
    prepared = prepare(source, tmp_path / "out", link=True)
    assert len(prepared.counts) > 2
    for filename, _, _ in rows_of(prepared.root)[::50]:
        with Image.open(prepared.root / filename) as image:
            assert min(image.convert("RGB").size) > 0
