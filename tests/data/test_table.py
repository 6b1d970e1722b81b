"""The CSV as users bring it: what is read, what is refused, with which line, by training and inspection alike."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.data import classes as class_lists
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.table import check_there, read_rows, read_table, write_without
from paddle_alexnet.datasets.inspect.inspection import inspect

CSV = ",filename,label,split\n0,a.png,cat,train\n1,b.png,n02114548,train\n2,sub/c.png,cat,val\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images of two classes."""
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


# What is wrong with the row in line 4, and the doctor's name for it.
ROWS = {
    "2,sub/c.png,dog,val": ("label", "label 'dog' is not in the class list"),
    "2,sub/c.png,,val": ("label", "label '' is not in the class list"),
    "2,sub/c.png,cat,dev": ("split", "split 'dev': use train, val, test"),
    "2,sub/gone.png,cat,val": ("missing", "sub/gone.png: file not found"),
    "2,,cat,val": ("missing", "has no file name"),
    "2,sub,cat,val": ("missing", "file not found"),
    "2,../c.png,cat,val": ("outside", "leaves the data folder"),
    "2,/etc/hosts,cat,val": ("outside", "leaves the data folder"),
    "2,sub/c.png,cat,val,": ("malformed", "5 fields, the header has 4: the row ends in a comma"),
    "2,sub/c.png,cat": ("malformed", "3 fields, the header has 4"),
    "x": ("malformed", "1 fields, the header has 4"),
}


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("row", ROWS)
def test_training_and_inspection_find_the_same_in_the_same_line(root, row, classes):
    kind, words = ROWS[row]
    text = CSV.replace("2,sub/c.png,cat,val", row)
    if not classes:
        (root / "classes.txt").unlink()
        if "dog" in row:  # without a list every label is a class
            text = text.replace(",dog,", ",,")
            words = "label '' is not in the class list"
    (root / "labels.csv").write_text(text)
    with pytest.raises(UserError) as error:
        read_table(root)
    assert str(error.value).startswith(f"{root / 'labels.csv'}, line 4: ")
    assert words in str(error.value) and str(root) in str(error.value) and "\n" not in str(error.value)
    [finding] = [f for f in inspect(root, top_k=1).findings if f.line and f.kind != "flat"]
    assert (finding.kind, finding.line) == (kind, 4)
    assert str(finding) in str(error.value)


def test_the_first_line_that_is_wrong_is_named(root):
    """Whatever is wrong with it, and counting blank lines and fields of several lines."""
    rows = [
        "0,a.png,cat,train",
        "",
        '1,"b.png","n02114548",train',
        "",
        "",
        '2,sub/c.png,"white\nwolf",val',
        "3,a.png,cat,?",
        "4",
    ]
    (root / "labels.csv").write_text("\r\n".join([CSV.splitlines()[0], *rows]))
    with pytest.raises(UserError, match=r"labels\.csv, line 8: sub/c\.png: label 'white\\nwolf'"):
        read_table(root)
    (root / "labels.csv").write_text("\n".join([CSV.splitlines()[0], *rows[:5], *rows[6:]]))
    with pytest.raises(UserError, match=r"line 7: a\.png: split '\?'"):
        read_table(root)
    (root / "labels.csv").write_text("\n".join([CSV.splitlines()[0], *rows[:5]]))
    table = read_table(root)
    assert list(table.lines) == [2, 4] and list(table.labels) == [1, 0]


def test_an_unnamed_index_column_is_a_malformed_table(root):
    """pandas would take a first field that the header does not name for an index."""
    (root / "labels.csv").write_text(CSV[1:])
    with pytest.raises(UserError, match="line 2: 4 fields, the header has 3"):
        read_table(root)
    assert [f.line for f in inspect(root, top_k=1).findings if f.kind == "malformed"] == [2, 3, 4]


@pytest.mark.parametrize(
    "text, words",
    [
        (CSV.replace("label", "class"), r"column 'label' not found among .*'class'"),
        ("", r"must be a regular file"),
        ("\n", r"column 'filename' not found among none"),
        (CSV.splitlines()[0] + "\n\n", r"must have rows below its header"),
        (CSV + '3,"a.png', r"line 5: 2 fields"),
        (CSV.replace("cat,val", "cat,train"), r"split 'val' is empty"),
        (CSV.replace("cat", "\udcff"), r"the CSV is unreadable"),
        (CSV + "x" * 200_000, r"the CSV is unreadable"),
    ],
)
def test_a_table_that_is_none_is_one_line(root, text, words):
    (root / "labels.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=words) as error:
        read_table(root).rows("val")
    assert "labels.csv" in str(error.value) and "\n" not in str(error.value)


def test_labels_are_text_and_columns_may_stand_in_any_order(root):
    (root / "classes.txt").unlink()
    (root / "labels.csv").write_text(
        "\ufeffsplit,label,filename\ntrain,01,a.png\nval, True ,b.png\ntrain,1,./sub//c.png\n"
    )
    table = read_table(root)
    assert table.classes.names == ("01", "1", "True")
    assert list(table.labels) == [0, 2, 1] and list(table.rows("train")) == [0, 2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_spreadsheets_are_read_fixed_and_kept(root, encoding, delimiter):
    """Semicolons and tabs, UTF-16, capital letters, other words for splits and the slashes of Windows."""
    rows = [("Filename", "Label ", "Split"), ("a.png", "Käse", "Train"), ("b.png", "cat", "training")]
    rows += [("sub\\c.png", "cat", "VALID"), ("sub\\gone.png", "cat", "Testing")]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (root / "labels.csv").write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
    (root / "classes.txt").write_text("cat\nKäse\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"line 5: sub/gone.png: file not found"):
        read_table(root)
    csv, rows, classes, _ = read_rows(root)
    assert rows.splits == ["train", "train", "val", "test"] and classes.names == ("cat", "Käse")
    write_without(csv, {5})
    cleaned = read_table(root, root / "labels.cleaned.csv")
    assert cleaned.filenames.tolist() == ["a.png", "b.png", "sub/c.png"] and cleaned.labels.tolist() == [1, 0, 0]


def test_a_file_whose_name_has_a_backslash_is_that_file(root):
    (root / "a.png").rename(root / "sub\\a.png")
    (root / "labels.csv").write_text(CSV.replace("a.png", "sub\\a.png"))
    assert "sub\\a.png" in read_table(root).filenames


def test_another_encoding_is_named_with_the_remedy(root):
    (root / "labels.csv").write_bytes(CSV.replace("cat", "Käse").encode("cp1252"))
    with pytest.raises(UserError, match=r"labels.csv: the CSV is unreadable .*nor UTF-16; save it as CSV UTF-8"):
        read_table(root)


def test_missing_folder_csv_and_class_list_are_one_line(root):
    for arguments in ((root / "gone",), (root, root / "gone.csv"), (root, None, root / "gone.txt")):
        for check in (check_there, read_table):
            with pytest.raises(UserError, match="gone"):
                check(*arguments)
    assert check_there(root) == root / "labels.csv"


def test_reading_a_table_needs_neither_paddle_nor_pandas(root):
    code = (
        "import sys, pathlib, paddle_alexnet.data.table as table, paddle_alexnet.data.preprocess\n"
        "table.read_table(pathlib.Path(sys.argv[1]))\n"
        "assert not {'paddle', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def test_a_file_in_another_unicode_form_is_hinted_at(root):
    (root / "sub" / "c.png").rename(root / "sub" / unicodedata.normalize("NFD", "Äpfel.png"))
    (root / "labels.csv").write_text(CSV.replace("sub/c.png", unicodedata.normalize("NFC", "sub/Äpfel.png")))
    with pytest.raises(UserError, match=r"line 4: sub/Äpfel.png: file not found; .* another Unicode form"):
        read_table(root)


def test_a_column_that_holds_no_labels_is_refused(root, monkeypatch):
    monkeypatch.setattr(class_lists, "MAX_CLASSES", 1)
    (root / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"labels.csv: has more than 1 classes"):
        read_table(root)


def test_labels_of_control_characters_are_named_with_their_line(root):
    (root / "classes.txt").unlink()
    for label in ("a\0b", '"a\nb"', "a\x1bb", "a\u2028b", "a\tb"):
        (root / "labels.csv").write_text(CSV.replace(",cat,val", f",{label},val"), encoding="utf-8")
        with pytest.raises(UserError, match=r"line [45]: sub/c\.png: label 'a.*b' is not in the class list"):
            read_table(root)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/kmsg", "/proc/self/status", "fifo"])
def test_read_table_of_a_file_that_is_not_regular_raises_without_reading(root, path):
    os.mkfifo(root / "fifo")
    if not (root / path).exists():
        pytest.skip(f"no {path}")
    for arguments in ((root / path,), (None, root / path)):
        with pytest.raises(UserError, match=f"{path}: must be a regular file"):
            read_table(root, *arguments)


def test_labels_follow_a_class_list_that_is_given(root):
    """A model's own, whose order holds whatever lies beside the CSV."""
    given = ClassList(("cat", "dog", "white wolf"), (None, None, "n02114548"))
    table = read_table(root, None, given)
    assert table.classes == given and list(table.labels) == [0, 2, 0]
    with pytest.raises(UserError, match=r"line 3: b\.png: label 'n02114548' is not in the class list"):
        read_table(root, None, ClassList(("cat",), (None,)))
