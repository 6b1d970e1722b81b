"""Every kind of source, what is left out of it, and what a stranger's source must not do."""

import csv
import unicodedata
from pathlib import Path

import pytest
from helpers import make_tree, picture

from paddle_alexnet.datasets.prepare import sources
from paddle_alexnet.datasets.prepare.sources import Found, find_classes
from paddle_alexnet.system.errors import UserError


def names(found: Found) -> dict[str, list[str]]:
    return {label: [record.name for record in records] for label, records in found.classes.items()}


def put(path: Path, data: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def put_table(path: Path, *rows: tuple[str, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "PNG", "bmp", "webp", "tif", "gif", "jfif", "jpe", "avif", "ppm"])
def test_every_image_format_counts(tmp_path, suffix):
    put(tmp_path / "a" / f"x.{suffix}")
    found = find_classes(tmp_path)
    assert names(found) == {"a": [f"x.{suffix}"]} and not found.notes


def test_folders_within_a_class_are_taken_and_told(tmp_path):
    make_tree(tmp_path, {"cat": 1, "cat/2019/may": 2, "dog": 1})
    found = find_classes(tmp_path)
    assert names(found)["cat"] == ["000.JPEG", "2019/may/000.JPEG", "2019/may/001.JPEG"]
    assert found.notes == ["used: 2 images in subfolders of class folders"]


def test_find_classes_lists_the_files_that_it_leaves_out(tmp_path):
    make_tree(tmp_path, {"cat": 2, "dog": 2, "__MACOSX/cat": 2})
    for name in ("cat/._000.JPEG", "cat/.DS_Store", "cat/notes.txt", "dog/list.txt", "README", "loose.jpg"):
        put(tmp_path / name)
    found = find_classes(tmp_path)
    assert {label: len(records) for label, records in names(found).items()} == {"cat": 2, "dog": 2}
    assert found.notes == [
        "left out: 1 images outside class folders",
        "left out: 6 other files (hidden 3, .txt 2, no suffix 1), such as README",
    ]


def test_folders_beside_the_splits_are_told(tmp_path):
    make_tree(tmp_path, {"train/a": 1, "valid/a": 1, "more": 3, "old/b": 1})
    found = find_classes(tmp_path)
    assert [(record.name, record.split) for record in found.classes["a"]] == [
        ("000.JPEG", "train"),
        ("000.JPEG", "val"),
    ]
    assert found.notes == ["used: valid as val", "left out: more, old, not a split but beside train"]


def test_a_split_without_class_folders_is_told(tmp_path):
    found = find_classes(make_tree(tmp_path, {"Training/a": 2, "Training/b": 2, "Testing": 3}))
    assert {label: len(records) for label, records in names(found).items()} == {"a": 2, "b": 2}
    assert found.notes == [
        "used: Testing as test, Training as train",
        "left out: Testing, 3 images without class folders",
    ]


def test_a_class_may_be_called_train(tmp_path):
    assert list(names(find_classes(make_tree(tmp_path, {"bus": 3, "train": 3})))) == ["bus", "train"]


def test_labels_are_the_folders_names_as_text(tmp_path):
    make_tree(tmp_path, {"0": 1, "02": 1, "1": 1, "True": 1, "nan": 1, "1e3": 1})
    assert list(find_classes(tmp_path).classes) == ["0", "02", "1", "1e3", "True", "nan"]


def test_decomposed_names_are_the_same_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Äpfel") for form in ("NFC", "NFD"))
    make_tree(tmp_path, {f"train/{composed}": 1, f"val/{decomposed}": 1})
    assert {label: len(records) for label, records in names(find_classes(tmp_path)).items()} == {composed: 2}


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "page\u2028break", "\udcff"])
def test_labels_of_one_line_only(tmp_path, name):
    make_tree(tmp_path, {name: 1, "b": 1})
    with pytest.raises(UserError, match="without line breaks") as error:
        find_classes(tmp_path)
    assert str(error.value).isprintable()


def test_flat_folder_of_wnid_names(tmp_path):
    for name in ("n02091244_1.JPEG", "n02091244_2.JPEG", "n02114548_1.JPEG", "._n02114548_1.JPEG"):
        put(tmp_path / name)
    assert names(find_classes(tmp_path)) == {
        "n02091244": ["n02091244_1.JPEG", "n02091244_2.JPEG"],
        "n02114548": ["n02114548_1.JPEG"],
    }


@pytest.mark.parametrize("give", ["folder", "file"])
def test_table_of_imagenettes_form(tmp_path, give):
    make_tree(tmp_path, {"train/x": 1, "val/x": 1})
    header = ("path", "noisy_labels_0", "noisy_labels_50", "is_valid")
    rows = [("train/x/000.JPEG", "a", "b", "False"), ("val/x/000.JPEG", "b", "a", "True")]
    table = put_table(tmp_path / "noisy.csv", header, *rows)
    found = find_classes(tmp_path if give == "folder" else table)
    assert {label: [(r.name, r.path, r.split) for r in records] for label, records in found.classes.items()} == {
        "a": [("000.JPEG", "train/x/000.JPEG", "train")],
        "b": [("000.JPEG", "val/x/000.JPEG", "val")],
    }


def test_column_of_groups(tmp_path):
    make_tree(tmp_path, {"x": 2})
    rows = [("path", "label", "patient"), ("x/000.JPEG", "a", "7"), ("x/001.JPEG", "b", "07")]
    found = find_classes(put_table(tmp_path / "t.csv", *rows), group="patient")
    assert {label: [r.group for r in records] for label, records in found.classes.items()} == {"a": ["7"], "b": ["07"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("/etc/passwd", "a"), "line 3: '/etc/passwd' leaves the table's folder"),
        (("../x.jpg", "a"), r"line 3: '\.\./x.jpg' leaves"),
        (("x/../../x.jpg", "a"), "line 3: .* leaves"),
        (("gone.jpg", "a"), "line 3: file 'gone.jpg' not found"),
        (("./x//000.JPEG", "a"), "line 3: x/000.JPEG is also in line 2"),
        (("x/001.JPEG", "a/b"), "line 3: label 'a/b'"),
        (("x/001.JPEG", ".."), "line 3: label '..'"),
        (("x/001.JPEG", "a\nb"), "line 4: label .* without line breaks"),
        (("x/001.JPEG", ""), "line 3: label ''"),
        (("x/001.JPEG",), "line 3: has 1 fields, the header 2"),
        (("x/001.JPEG", "a", "b"), "line 3: has 3 fields, the header 2"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, row, message):
    make_tree(tmp_path / "set", {"x": 2})
    put(tmp_path / "x.jpg")
    table = put_table(tmp_path / "set" / "t.csv", ("path", "label"), ("x/000.JPEG", "a"), row)
    with pytest.raises(UserError, match=message):
        find_classes(table)


def test_a_label_column_without_classes_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_CLASSES", 2)
    make_tree(tmp_path, {"x": 3})
    rows = [(f"x/{number:03d}.JPEG", f"{number}") for number in range(3)]
    with pytest.raises(UserError, match="more than 2 different labels"):
        find_classes(put_table(tmp_path / "t.csv", ("path", "label"), *rows, ("x/gone.jpg", "a")))


@pytest.mark.parametrize("where", ["cat/x.jpg", "owl"])
def test_links_that_leave_the_source_are_refused(tmp_path, where):
    source = make_tree(tmp_path / "set", {"cat": 1, "dog": 1})
    outside = make_tree(tmp_path / "secret", {"": 1})
    (source / where).symlink_to(outside / "000.JPEG" if "." in where else outside)
    with pytest.raises(UserError, match=rf"set/{where}: is a symbolic link to .*secret"):
        find_classes(source)
    assert sum(map(len, names(find_classes(source, follow_links=True)).values())) == 3


def test_links_within_the_source_are_taken_but_no_circles(tmp_path):
    source = make_tree(tmp_path, {"cat": 1, "dog": 1})
    (source / "cat" / "link.jpg").symlink_to(source / "dog" / "000.JPEG")
    (source / "dog" / "again").symlink_to(source)
    found = find_classes(source)
    assert names(found) == {"cat": ["000.JPEG", "link.jpg"], "dog": ["000.JPEG"]}
    assert found.notes == ["left out: 1 links to folders inside the tree, such as dog/again"]


def test_a_linked_table_cell_is_refused(tmp_path):
    put(tmp_path / "secret.jpg", picture("secret"))
    table = put_table(tmp_path / "set" / "t.csv", ("path", "label"), ("x.jpg", "a"))
    (table.parent / "x.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(UserError, match=r"x.jpg: is a symbolic link to .*secret.jpg"):
        find_classes(table)


def test_unusable_sources(tmp_path):
    (tmp_path / "empty").mkdir()
    make_tree(tmp_path / "flat", {"": 1})
    put(tmp_path / "notes.txt")
    put_table(tmp_path / "columns.csv", ("file", "label"))
    put_table(tmp_path / "header.csv", ("path", "label"))
    put(tmp_path / "binary.csv", b"path,label\n\xff\xfe,a\n")
    for name, message in {
        "empty": "empty: has no images",
        "flat": "000.JPEG: the name must begin with a wnid",
        "notes.txt": "notes.txt: is not a source",
        "columns.csv": "columns.csv: must have columns path",
        "header.csv": "header.csv: must have rows",
        "binary.csv": "binary.csv: is unreadable as a table",
    }.items():
        with pytest.raises(UserError, match=message):
            find_classes(tmp_path / name)
