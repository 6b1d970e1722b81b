"""Preparing data: every kind of source, the splits, and what a user can get wrong."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.prepare.preparation import (
    FLUID_CLASSES,
    draw_splits,
    parse_classes,
    parse_split,
    prepare,
)
from paddle_alexnet.errors import UserError

ROOT = Path(__file__).parents[1]
# Not this process's own OMP_NUM_THREADS, about which Paddle would warn.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop("OMP_NUM_THREADS", None)
HOUND, WOLF, MEERKAT = "n02091244", "n02114548", "n02138441"


def picture(text: str) -> bytes:
    """A small image file, other bytes for another text."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(stream, "JPEG", comment=text)
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def make_tree(root: Path, counts: dict[str, int]) -> Path:
    for folder, count in counts.items():
        for i in range(count):
            write(root / folder / f"{i:03d}.JPEG", picture(f"{folder}/{i}"))
    return root


def make_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def make_train_tar(folder: Path, wnids: list[str], count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    inner = {}
    for wnid in wnids:
        names = [f"{wnid}_{i}.JPEG" for i in range(count)]
        make_tar(folder / "class.tar", {name: picture(name) for name in names})
        inner[f"{wnid}.tar"] = (folder / "class.tar").read_bytes()
    (folder / "class.tar").unlink()
    path = folder / "ILSVRC2012_img_train.tar"
    make_tar(path, inner)
    return path


def read(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "labels.csv", index_col=0, keep_default_na=False)


def counts(root: Path) -> dict[tuple[str, str], int]:
    return read(root).groupby(["label", "split"]).size().to_dict()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def run_tool(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools" / "prepare_data.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


# Sources


def test_class_folders(tmp_path):
    source = make_tree(tmp_path / "src", {WOLF: 10, HOUND: 100, "cat": 5})
    (source / "README.md").write_text("no image")
    (source / "cat" / "notes.txt").write_text("no image")
    prepared = prepare(source, tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().startswith(",filename,label,split\n0,images/")
    assert ClassList.read(prepared.classes).lines() == ["cat", f"{HOUND} Ibizan hound", f"{WOLF} white wolf"]
    table = read(prepared.root)
    assert list(table.index) == list(range(115))
    for filename, label in zip(table["filename"], table["label"]):
        assert (prepared.root / filename).read_bytes() == (source / label / Path(filename).name).read_bytes()
    assert prepared.counts.loc[f"{HOUND} Ibizan hound"].tolist() == [70, 10, 20, 100]
    assert prepared.counts.loc["total", "total"] == 115


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "PNG", "bmp", "webp", "tif", "gif"])
def test_every_image_format_counts(tmp_path, suffix):
    for label in ("a", "b"):
        write(tmp_path / "src" / label / f"x.{suffix}", b"")
    assert len(read(prepare(tmp_path / "src", tmp_path / "out").root)) == 2


def test_train_and_val_folders_draw_test_from_val(tmp_path):
    source = make_tree(tmp_path / "src", {"train/a": 4, "train/b": 4, "val/a": 30, "val/b": 30})
    prepare(source, tmp_path / "out")
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


def test_a_class_may_be_called_train(tmp_path):
    source = make_tree(tmp_path / "src", {"bus": 3, "train": 3})
    assert ClassList.read(prepare(source, tmp_path / "out").classes).names == ("bus", "train")


def test_flat_folder_of_wnid_names(tmp_path):
    for wnid in (WOLF, HOUND):
        for i in range(10):
            write(tmp_path / "src" / f"{wnid}_{i}.JPEG", picture(f"{wnid}{i}"))
    prepare(tmp_path / "src", tmp_path / "out")
    assert sum(n for (label, _), n in counts(tmp_path / "out").items() if label == HOUND) == 10


@pytest.mark.parametrize("give", ["folder", "file"])
def test_table_of_imagenettes_form(tmp_path, give):
    source = make_tree(tmp_path / "src", {f"{s}/{w}": 30 for s in ("train", "val") for w in (HOUND, WOLF)})
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.JPEG"))
    rows = [(name, name.split("/")[1], WOLF, name.startswith("val")) for name in names]
    table = pd.DataFrame(rows, columns=["path", "noisy_labels_0", "noisy_labels_50", "is_valid"])
    table.to_csv(source / "noisy.csv", index=False)
    prepare(source if give == "folder" else source / "noisy.csv", tmp_path / "out")
    expected = {"train": 30, "val": 10, "test": 20}
    assert counts(tmp_path / "out") == {(w, s): n for s, n in expected.items() for w in (HOUND, WOLF)}


def test_archive_gives_the_fluid_classes_in_order(tmp_path):
    wnids = [line.split()[0] for line in FLUID_CLASSES]
    make_train_tar(tmp_path / "src", sorted([*wnids, "n01440764"]), 10)
    prepared = prepare(tmp_path / "src", tmp_path / "out")
    assert ClassList.read(prepared.classes).lines() == list(FLUID_CLASSES)
    table = read(prepared.root)
    assert len(table) == 100
    for filename in table["filename"]:
        assert (prepared.root / filename).read_bytes() == picture(Path(filename).name)


VAL_LABELS = {
    "name and wnid": ["{name} {wnid}", "labels_val.txt"],
    "wnid alone": ["{wnid}", "validation_synset_labels.txt"],
    "name and sorted index": ["val/{name} {index}", "val.txt"],
}


@pytest.mark.parametrize("form", VAL_LABELS)
def test_archive_with_labelled_validation_images(tmp_path, form):
    line, filename = VAL_LABELS[form]
    index = {"n01440764": 0, "n01443537": 1}
    train = make_train_tar(tmp_path / "src", list(index), 5)
    labels = {f"ILSVRC2012_val_{i:08d}.JPEG": list(index)[i % 2] for i in range(1, 61)}
    make_tar(train.with_name("ILSVRC2012_img_val.tar"), {name: picture(name) for name in labels})
    text = "\n".join(line.format(name=name, wnid=wnid, index=index[wnid]) for name, wnid in labels.items())
    (tmp_path / "src" / filename).write_text(text)
    (tmp_path / "src" / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n")
    prepare(train, tmp_path / "out", classes=parse_classes("goldfish,tench"))
    expected = {"train": 5, "val": 10, "test": 20}
    assert counts(tmp_path / "out") == {(w, s): n for s, n in expected.items() for w in index}
    table = read(tmp_path / "out")
    for name, label in zip(table["filename"].map(lambda f: Path(f).name), table["label"]):
        assert labels.get(name, label) == label
        assert (tmp_path / "out" / "images" / label / name).read_bytes() == picture(name)


def test_bare_ilsvrc_numbers_are_refused(tmp_path):
    train = make_train_tar(tmp_path / "src", ["n01440764", "n01443537"], 3)
    make_tar(train.with_name("ILSVRC2012_img_val.tar"), {"ILSVRC2012_val_00000001.JPEG": picture("x")})
    (tmp_path / "src" / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n")
    with pytest.raises(UserError, match=r"ground_truth.txt: bare numbers .* n01440764"):
        prepare(train, tmp_path / "out", classes=parse_classes("tench,goldfish"))


def test_damaged_archive_is_named(tmp_path):
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
    assert set(read(tmp_path / "a")["label"]) == {WOLF, "cat", HOUND}

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
    assert set(read(tmp_path / "b")["label"]) == {"n03126707", HOUND}


# Splits


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10, 99, 100, 101, 1300])
@pytest.mark.parametrize("proportions", [(70, 10, 20), (98, 1, 1), (1, 1, 98), (33.3, 33.3, 33.4), (80, 20, 0)])
def test_splits_add_up_and_none_is_empty(count, proportions):
    drawn = draw_splits(count, proportions=proportions, rng=np.random.default_rng(0))
    assert len(drawn) == count
    assert "train" in drawn
    for name, share in zip(("train", "val", "test"), proportions):
        assert bool(drawn.count(name)) == bool(share) or count < 3
        assert abs(drawn.count(name) - count * share / 100) < 1 or count * min(p for p in proportions if p) < 100


def test_a_hundred_images_split_exactly():
    drawn = draw_splits(100, rng=np.random.default_rng(0))
    assert [drawn.count(name) for name in ("train", "val", "test")] == [70, 10, 20]


def test_same_seed_same_bytes(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 30, "b": 30})
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        prepare(source, tmp_path / name, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not read(tmp_path / "one")["split"].equals(read(tmp_path / "three")["split"])


@pytest.mark.parametrize("text", ["70,10", "70,10,30", "110,-20,10", "a,b,c", "nan,50,50", ""])
def test_impossible_split_is_refused(text):
    with pytest.raises(UserError, match=r"^--split"):
        parse_split(text)


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
    for filename in read(tmp_path / "out")["filename"]:
        assert (tmp_path / "out" / filename).is_symlink()
        assert (tmp_path / "out" / filename).read_bytes()


def test_an_existing_folder_is_not_touched(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 3, "b": 3})
    write(tmp_path / "out" / "mine.txt", b"keep")
    with pytest.raises(UserError, match="out: exists and is not empty"):
        prepare(source, tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine.txt": b"keep"}
    (tmp_path / "empty").mkdir()
    prepare(source, tmp_path / "empty")


def test_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 5, "b": 5})
    script = (
        "import os, shutil, sys\n"
        "from pathlib import Path\n"
        "from paddle_alexnet.data import prepare\n"
        "copied, copy = [], shutil.copyfile\n"
        "def copyfile(source, target):\n"
        "    copied.append(copy(source, target))\n"
        "    len(copied) < 6 or os.kill(os.getpid(), 9)\n"
        "shutil.copyfile = copyfile\n"
        "prepare.prepare(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "out")]
    killed = subprocess.run(command, env=ENVIRONMENT, timeout=120)
    assert killed.returncode == -9
    left_behind = {path.name for path in tmp_path.iterdir()} - {"src"}
    assert len(left_behind) == 1
    assert left_behind.pop().startswith("out.partial-")
    prepare(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"src", "out"}
    assert len(read(tmp_path / "out")) == 10


# Errors


def test_unusable_sources(tmp_path):
    (tmp_path / "empty").mkdir()
    make_tree(tmp_path / "one", {"a": 3})
    make_tree(tmp_path / "gap", {"a": 3})
    (tmp_path / "gap" / "b").mkdir()
    make_tree(tmp_path / "flat", {"": 1})
    make_tree(tmp_path / "unlabelled", {"train/a": 2, "train/b": 2, "val": 2})
    make_tree(tmp_path / "val_only", {"train/a": 2, "val/a": 2, "val/b": 2})
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "missing.csv").write_text("path,label\nnone.jpg,a\n")
    (tmp_path / "columns.csv").write_text("file,label\n")
    for name, message in {
        "nowhere": "nowhere: no such file",
        "empty": "empty: no images in it",
        "one": "one: only a of its 1 classes",
        "gap": "gap: class b has no images",
        "flat": "000.JPEG: its name does not begin with a wnid",
        "unlabelled": "val: has no class folders",
        "val_only": "class b has no training images",
        "notes.txt": "notes.txt: not a source",
        "missing.csv": "missing.csv: line 2: no such file",
        "columns.csv": "columns.csv: needs a column path",
    }.items():
        with pytest.raises(UserError, match=message):
            prepare(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_unusable_options(tmp_path):
    source = make_tree(tmp_path / "src", {"a": 3, "b": 3})
    archive = make_train_tar(tmp_path / "tar", [HOUND, WOLF], 3)
    with pytest.raises(UserError, match="inside an archive cannot be linked"):
        prepare(archive, tmp_path / "out", link=True)
    with pytest.raises(UserError, match="lies inside the source"):
        prepare(source, source / "out")
    with pytest.raises(UserError, match=r"^/: exists and is not empty"):
        prepare(source, Path("/"))
    with pytest.raises(UserError, match="--seed -1"):
        prepare(source, tmp_path / "out", seed=-1)
    with pytest.raises(UserError, match="out: not written"):
        prepare(source, archive / "out")
    with pytest.raises(UserError, match="no such file"):
        parse_classes("list.txt")


# The command


def test_tool_prints_the_table_and_what_is_next(tmp_path):
    source = make_tree(tmp_path / "src", {HOUND: 10, WOLF: 10})
    done = run_tool("--source", source, "--output", tmp_path / "my set", "--classes", f"{WOLF},{HOUND}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["train", "val", "test", "total"]
    assert lines[1].split() == [WOLF, "white", "wolf", "7", "1", "2", "10"]
    assert lines[-1] == f"next: paddle-alexnet train -o 'data.root={tmp_path}/my set'"


def test_tool_fails_in_one_line(tmp_path):
    done = run_tool("--source", tmp_path / "none", "--output", tmp_path / "out", "--split", "60,20,20")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: no such file")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif("ALEXNET_IMAGENETTE" not in os.environ, reason="ALEXNET_IMAGENETTE names no class folders")
def test_real_photographs(tmp_path):
    source = Path(os.environ["ALEXNET_IMAGENETTE"])
    prepared = prepare(source, tmp_path / "out", link=True)
    assert len(prepared.counts) > 2
    for filename in read(prepared.root)["filename"][::50]:
        with Image.open(prepared.root / filename) as image:
            assert min(image.convert("RGB").size) > 0
