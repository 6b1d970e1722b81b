"""The class list: its order, its names, and what is refused."""

import pytest

from paddle_alexnet import UserError
from paddle_alexnet.data.classes import ClassList, imagenet_words


def test_names_and_wnids_are_read_and_written(tmp_path):
    (tmp_path / "classes.txt").write_text("n02114548\twhite wolf, Arctic wolf\n\ncat\nn02091244\n")
    classes = ClassList.read(tmp_path / "classes.txt")
    assert classes.names == ("white wolf", "cat", "Ibizan hound")  # a wnid alone gets ImageNet's own name
    assert classes.wnids == ("n02114548", None, "n02091244")
    assert ClassList.from_lines(classes.lines(), "again") == classes
    assert classes.index() == {"white wolf": 0, "n02114548": 0, "cat": 1, "Ibizan hound": 2, "n02091244": 2}


@pytest.mark.parametrize(
    "text, words",
    [
        ("cat\ncat\n", "'cat' is listed twice"),
        ("\n", "is empty"),
        ("", "is empty"),
        ("\udcff", "class list is unreadable"),
        ("cat\nd\0g\n", r"class 'd\\x00g' has control characters"),
    ],
)
def test_a_faulty_list_is_one_line(tmp_path, text, words):
    (tmp_path / "classes.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=words):
        ClassList.read(tmp_path / "classes.txt")


def test_imagenet_s_thousand_classes_have_distinct_names():
    classes = ClassList.from_lines([f"{wnid} {words}" for wnid, words in imagenet_words().items()], "built-in")
    assert len(set(classes.names)) == len(classes) == 1000
    assert ClassList.from_lines(classes.lines(), "again").wnids == classes.wnids
