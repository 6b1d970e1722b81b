"""The rows of a CSV of labels as they are, faulty ones too, and the same CSV without some of them.

Read with Python's own csv, which knows the line of each row, where pandas stops at the first broken one.
"""

import os
from collections.abc import Mapping
from csv import Error, reader
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Any, Optional

import numpy as np
import pandas as pd

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.findings import Finding
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import write_csv

SPLITS = ("train", "val", "test")
_COLUMNS = ("filename", "label", "split")


def read_rows(csv: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Columns line, filename, label and split (categories) of the complete rows; the others as findings.

    Raises UserError for a file that is no such CSV. A million rows take some seconds.
    """
    lines: list[int] = []
    filenames: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    malformed = []
    try:
        with csv.open(encoding="utf-8-sig", newline="") as stream:
            rows = reader(stream)
            header = next(rows, [])
            for column in _COLUMNS:
                if column not in header:
                    raise UserError(f"{csv}: no column {column!r}; it has {', '.join(map(repr, header)) or 'none'}")
            pick = itemgetter(*map(header.index, _COLUMNS))
            for row in rows:
                if len(row) != len(header):
                    if row:  # a blank line is none
                        detail = f"{len(row)} fields, where the header has {len(header)}"
                        malformed.append(Finding("malformed", rows.line_num, "", detail))
                    continue
                filename, label, split = pick(row)
                lines.append(rows.line_num)
                filenames.append(filename)
                labels.append(intern(label.strip()))  # few repeat many times: one string each
                splits.append(intern(split.strip()))
    except FileNotFoundError:
        raise UserError(f"{csv}: no such CSV; tools/prepare_data.py makes one") from None
    except (OSError, ValueError, Error) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{csv}: cannot read the CSV ({error})") from None
    table = pd.DataFrame(
        {
            "line": lines,
            "filename": pd.Series(filenames, dtype=object),
            "label": pd.Categorical(labels),
            "split": pd.Categorical(splits),
        }
    )
    return table, malformed


def cleaned_csv(csv: Path) -> Path:
    """Where the CSV without its bad rows goes. Raises UserError if there is something already."""
    target = csv.with_name(f"{csv.stem}.cleaned.csv")
    if target.exists():
        raise UserError(f"{target}: is there already; move it away, --fix never overwrites")
    return target


def write_without(csv: Path, lines: set[int]) -> Path:
    """Copy a CSV beside itself without the rows that end on these lines, and say where."""
    target = cleaned_csv(csv)
    with csv.open(encoding="utf-8-sig", newline="") as stream:
        rows = reader(stream)
        header, *kept = [row for row in rows if rows.line_num not in lines]
    write_csv(target, header, kept)
    return target


@dataclass(frozen=True)
class ImageTable:
    """A checked CSV: every row has a file that is there, a known label and a known split."""

    root: Path
    csv: Path
    classes: ClassList
    filenames: np.ndarray  # [rows] str, below root
    labels: np.ndarray  # [rows] int64
    splits: np.ndarray  # [rows] index into SPLITS

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split. Raises UserError if there are none."""
        rows = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(rows):
            raise UserError(f"{self.csv}: split {split!r} is empty: give it rows in the column 'split'")
        return rows


def read_table(root: Path, csv: Optional[Path] = None, classes: Optional[Path] = None) -> ImageTable:
    """Read and check a data set before anything is computed from it.

    `csv` is by default `labels.csv` in `root`; `classes` is by default `classes.txt` beside the CSV,
    else the CSV's sorted labels. Raises UserError that names the file and the row.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of images; tools/prepare_data.py makes one")
    csv = root / "labels.csv" if csv is None else csv
    try:
        # Few labels repeat many times: as categories, a million rows take little memory.
        columns: dict[str, Any] = {"filename": object, "label": "category", "split": "category"}
        table = pd.read_csv(csv, dtype=columns, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{csv}: no such CSV; tools/prepare_data.py makes one") from None
    except (OSError, ValueError) as error:  # pandas' ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{csv}: cannot read the CSV ({' '.join(str(error).split())})") from None
    for column in columns:
        if column not in table:
            found = ", ".join(map(repr, table.columns))
            raise UserError(f"{csv}: no column {column!r}; it has {found}")
    labels = [label.strip() for label in table["label"].cat.categories]
    if classes is None and (csv.parent / "classes.txt").is_file():
        classes = csv.parent / "classes.txt"
    class_list = ClassList.read(classes) if classes else ClassList.from_lines(sorted(set(labels)), str(csv))
    label = _codes(csv, table["label"], class_list.index(), f"it is not in {classes or csv}")
    split = _codes(csv, table["split"], {name: i for i, name in enumerate(SPLITS)}, f"use {', '.join(SPLITS)}")
    filenames = table["filename"].fillna("").to_numpy()
    _check_files(csv, root, filenames)
    return ImageTable(root, csv, class_list, filenames, label.astype(np.int64), split.astype(np.int8))


def _codes(csv: Path, column: pd.Series, index: Mapping[str, int], remedy: str) -> np.ndarray:
    """The index of each value of a categorical column. Raises UserError for the first unknown one."""
    known = [index.get(value.strip(), -1) for value in column.cat.categories]
    code = np.array([*known, -1])[column.cat.codes]  # -1, the last, is that of a cell that is missing
    if (code < 0).any():
        row = int(np.argmax(code < 0))
        raise UserError(f"{csv}, line {row + 2}: unknown {column.name} {column.iloc[row]!r}: {remedy}")
    return code


def _check_files(csv: Path, root: Path, filenames: np.ndarray) -> None:
    """Every file must be there; one listing of each folder at a time, so that a million rows take seconds."""
    numbers: dict[str, int] = {}  # of the folders, in order of appearance
    folder_of = np.fromiter(
        (numbers.setdefault(name[: name.rfind("/") + 1], len(numbers)) for name in filenames), np.int32, len(filenames)
    )
    by_folder = np.split(np.argsort(folder_of, kind="stable"), np.cumsum(np.bincount(folder_of))[:-1])
    missing = []
    for (folder, _), rows in zip(numbers.items(), by_folder):
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            raise UserError(f"{csv}, line {rows[0] + 2}: {filenames[rows[0]]!r} leaves the data folder {root}")
        try:
            there = {folder + entry.name for entry in os.scandir(root / folder) if entry.is_file()}
        except OSError:
            there = set()
        if not there.issuperset(filenames[rows]):
            missing.append(next(row for row in rows if filenames[row] not in there))
    if missing:
        row = min(missing)
        raise UserError(
            f"{csv}, line {row + 2}: no file {root / filenames[row]}: put it there, take the row out, "
            "or name the folder of the images with data.root"
        )
