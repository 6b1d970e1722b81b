"""The tables and pictures of `validation/`: written, read again, and against each other."""

import csv
import json

import numpy as np
import pytest
from handmade_run import NAMES, answers
from rounding import SIX_DIGITS

from paddle_alexnet import UserError
from paddle_alexnet.report.validation import read_validation, write_confusion


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_image_has_a_line_with_what_it_is_and_what_it_was_taken_for(run_folder):
    rows, known = rows_of(run_folder.validation / "predictions.csv"), answers()
    assert [row["filename"] for row in rows] == [f"{n}.png" for n in range(12)]
    for n, row in enumerate(rows):
        assert row["label"] == NAMES[n % 3]
        assert row["predicted"] == NAMES[known.classes[n, 0]]
        assert row["predicted_3"] == NAMES[known.classes[n, 2]]
        assert float(row["probability"]) == pytest.approx(known.probabilities[n, 0], rel=SIX_DIGITS)
        assert (row["predicted"] == row["label"]) == (row["label_rank"] == "1")
        assert float(row["loss"]) == pytest.approx(known.loss[n], rel=SIX_DIGITS)


def test_means_and_tables_agree_with_the_lines(run_folder):
    folder = run_folder.validation
    rows, figures = rows_of(folder / "predictions.csv"), json.loads((folder / "figures.json").read_text())
    right = [row for row in rows if row["label"] == row["predicted"]]
    assert figures["images"] == 12
    assert figures["top1"] == pytest.approx(len(right) / 12)
    assert figures["loss"] == pytest.approx(np.mean([float(row["loss"]) for row in rows]), rel=SIX_DIGITS)
    for row in rows_of(folder / "classes.csv"):
        hits = sum(one["label"] == row["label"] for one in right)
        taken = sum(one["predicted"] == row["label"] for one in rows)
        assert int(row["count"]) == 4
        assert float(row["recall"]) == pytest.approx(hits / 4, abs=1e-4)
        assert float(row["precision"]) == pytest.approx(hits / taken, abs=1e-4)
    for row in rows_of(folder / "confusion.csv"):
        for name in NAMES:
            found = sum(one["label"] == row["label"] and one["predicted"] == name for one in rows)
            assert int(row[name]) == found
    wrong = sorted((row for row in rows if row not in right), key=lambda row: -float(row["probability"]))
    assert [row["filename"] for row in rows_of(folder / "mistakes.csv")] == [row["filename"] for row in wrong]


def test_validation_is_read_as_written(run_folder):
    validation = read_validation(run_folder.validation)
    assert (validation.epoch, validation.split, validation.images, validation.classes) == (3, "val", 12, NAMES)
    assert validation.top1 == np.trace(validation.confusion) / 12
    assert read_validation(run_folder.path / "none") is None


@pytest.mark.parametrize("name", ["figures.json", "confusion.csv", "mistakes.csv"])
@pytest.mark.parametrize("content", ["", "label,a\nb,c\n"])
def test_validation_that_is_damaged_raises(run_folder, name, content):
    (run_folder.validation / name).write_text(content)
    with pytest.raises(UserError, match="validation: is damaged"):
        read_validation(run_folder.validation)


@pytest.mark.parametrize(("name", "old", "new"), [
    ("figures.json", '"epoch": 3', '"epoch": "x"'),
    ("figures.json", '"top1": ', '"top1": 7'),
    ("figures.json", '"images": 12', '"images": 0'),
    ("figures.json", '"split": "val"', '"split": []'),
    ("confusion.csv", ",0", ",-1"),
    ("confusion.csv", ",0", ",99999999999999999999"),
    ("mistakes.csv", ",0.", ",x"),
    ("mistakes.csv", "\n", "\na\n"),
])  # fmt: skip
def test_values_of_other_types_are_one_line(run_folder, name, old, new):
    file = run_folder.validation / name
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))
    with pytest.raises(UserError, match="validation: is damaged"):
        read_validation(run_folder.validation)


def test_a_confusion_matrix_is_a_picture_or_a_table(tmp_path):
    with pytest.raises(UserError, match=r"\.csv or \.png"):
        write_confusion(tmp_path / "confusion.txt", np.eye(2, dtype=int), "ab")
