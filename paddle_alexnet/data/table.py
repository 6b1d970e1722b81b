"""The CSV of a data set: its rows, what is wrong with them, and the same CSV without some of them.

Training and inspection read it here, by the same rules. Python's own csv knows the line of each row.
"""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from csv import Error
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from sys import intern
from typing import NamedTuple, Optional, Union

import numpy as np

from paddle_alexnet.data.classes import ClassList, is_plain
from paddle_alexnet.data.findings import Finding
from paddle_alexnet.data.splits import SPLIT_NAMES, SPLITS
from paddle_alexnet.data.tree import has_folders, list_tree
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import exists, is_file, is_folder, write_csv
from paddle_alexnet.system.text_files import open_csv, why

LARGEST_CSV = 4_000_000_000  # bytes; a row of ImageNet's takes 60
_COLUMNS = ("filename", "label", "split")


class Rows(NamedTuple):
    """The complete rows of a CSV as columns, faulty ones too; `lines` are those on which they end.

    The images of class folders, which have no CSV, are counted from -1 down; `notes` say what of the folders was left
    out.
    """

    lines: list[int]
    filenames: list[str]
    labels: list[str]
    splits: list[str]
    notes: Sequence[str] = ()

    def codes(self, classes: ClassList) -> tuple[np.ndarray, np.ndarray]:
        """The index of each row's class, int64, and of its split in SPLITS, int8; -1 for an unknown one."""
        label, split = classes.index(), {name: index for index, name in enumerate(SPLITS)}
        count = len(self.lines)
        return (
            np.fromiter((label.get(text, -1) for text in self.labels), np.int64, count),
            np.fromiter((split.get(text, -1) for text in self.splits), np.int8, count),
        )


@dataclass(frozen=True)
class ImageTable:
    """A checked CSV: every row has a file that is there, a known label and a known split."""

    root: Path
    csv: Path
    classes: ClassList
    lines: np.ndarray  # [rows] int64, of the CSV
    filenames: np.ndarray  # [rows] str, below root
    labels: np.ndarray  # [rows] int64
    splits: np.ndarray  # [rows] int8, index into SPLITS
    notes: Sequence[str] = ()  # on what of class folders was left out

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split. Raises UserError if there are none."""
        rows = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(rows):
            raise UserError(f"{self.csv}: split {split!r} is empty: give it rows in the column 'split'")
        return rows


def find_root(root: Optional[Path], csv: Optional[Path]) -> Optional[Path]:
    """The folder of images: `root`, else the CSV's, else `data` if it holds a data set; None where there is none."""
    if root is None and csv is not None:
        return csv.parent
    return Path("data") if root is None and is_file(Path("data/labels.csv")) else root


def check_there(root: Path, csv: Optional[Path] = None, classes: Optional[Path] = None) -> Path:
    """The data set's CSV, by default `labels.csv` in `root`; `root` itself where that has class folders instead.

    Raises UserError for what is not there.
    """
    if not is_folder(root):
        raise UserError(f"{root}: no such folder of images; prepare-data makes one")
    if csv is None or csv == root:
        csv = root / "labels.csv"
        if not exists(csv) and has_folders(root):
            csv = root
    if not exists(csv):
        raise UserError(f"{csv}: no such CSV; prepare-data makes one")
    if classes is not None and not exists(classes):
        raise UserError(f"{classes}: no such class list")
    for path in filter(None, (None if csv == root else csv, classes)):
        if not is_file(path) or not 0 < path.stat().st_size <= LARGEST_CSV:  # a file of /proc has 0 bytes and no end
            raise UserError(f"{path}: is empty, no regular file or larger than {LARGEST_CSV / 1e9:g} GB")
    return csv


def read_table(root: Path, csv: Optional[Path] = None, classes: Union[Path, ClassList, None] = None) -> ImageTable:
    """Read and check a data set before anything is computed from it.

    `csv` is by default `labels.csv` in `root`, without which the images of its class folders are taken, in splits by
    `list_tree`; for `classes` see `read_rows`. Raises UserError for the first thing
    that is wrong with a row, naming its line.
    """
    csv, rows, class_list, malformed = read_rows(root, csv, classes)
    findings = chain(malformed, check_rows(rows, root, class_list))
    first = min(findings, key=lambda finding: abs(finding.line), default=None)
    if first is not None:
        raise UserError(f"{csv}, {first} (the images are in {root}; inspect-data finds every such row)")
    if not rows.lines:
        raise UserError(f"{csv}: there is no row below its header")
    lines, filenames = np.array(rows.lines), np.array(rows.filenames, object)
    return ImageTable(root, csv, class_list, lines, filenames, *rows.codes(class_list), rows.notes)


def read_rows(
    root: Path, csv: Optional[Path] = None, classes: Union[Path, ClassList, None] = None
) -> tuple[Path, Rows, ClassList, list[Finding]]:
    """The CSV, its complete rows, its classes, and a finding for each other row.

    `classes` is a list or its file; by default `classes.txt` beside the CSV, else the CSV's sorted labels. Raises
    UserError for what is not there and for a file that is no such CSV.
    """
    csv = check_there(root, csv, classes if isinstance(classes, Path) else None)
    rows, malformed = _from_tree(root) if csv == root else _from_csv(csv, root)
    beside = (csv if csv == root else csv.parent) / "classes.txt"
    if classes is None and is_file(beside):
        classes = beside
    if classes is None:
        classes = ClassList.from_lines(sorted(filter(is_plain, set(rows.labels))), str(csv))
    elif isinstance(classes, Path):
        classes = ClassList.read(classes)
    return csv, rows, classes, malformed


def _from_csv(csv: Path, root: Path) -> tuple[Rows, list[Finding]]:
    rows, malformed = Rows([], [], [], []), []
    try:
        with open_csv(csv) as table:
            header: list[str] = next(table, [])
            names = [name.strip().lower() for name in header]
            for column in _COLUMNS:
                if column not in names:
                    raise UserError(f"{csv}: no column {column!r}; it has {', '.join(map(repr, header)) or 'none'}")
            pick = itemgetter(*map(names.index, _COLUMNS))
            for row in table:
                if len(row) == len(header):
                    filename, label, split = pick(row)
                    rows.lines.append(table.line_num)
                    if "\\" in filename and not os.path.lexists(root / filename):  # as Windows writes paths
                        filename = filename.replace("\\", "/")
                    rows.filenames.append(filename)
                    rows.labels.append(intern(label.strip()))  # few repeat many times: one string each
                    rows.splits.append(intern(SPLIT_NAMES.get(split.strip().lower(), split.strip())))
                elif row:  # a blank line is none
                    detail = f"{len(row)} fields, where the header has {len(header)}"
                    if len(row) == len(header) + 1 and not row[-1]:
                        detail += ": the row ends in a comma, the header does not"
                    malformed.append(Finding("malformed", table.line_num, "", intern(detail)))
    except (OSError, ValueError, Error) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{csv}: cannot read the CSV ({why(error)})") from None
    return rows, malformed


def _from_tree(root: Path) -> tuple[Rows, list[Finding]]:
    """The rows of class folders."""
    listed, notes = list_tree(root)
    if len({label for _, label, _ in listed}) < 2:
        raise UserError(
            f"{root}: neither labels.csv in it nor a folder of images for each of two or more classes"
            f"{''.join(f' ({note})' for note in notes if note.startswith('left'))}; prepare-data makes one"
        )
    filenames, labels, splits = map(list, zip(*listed))
    return Rows([-1 - n for n in range(len(listed))], filenames, labels, splits, notes), []


def check_rows(rows: Rows, root: Path, classes: ClassList) -> Iterator[Finding]:
    """What is wrong with each row: its label, its split, its file."""
    labels, splits = rows.codes(classes)
    for n in np.flatnonzero(labels < 0):
        detail = f"label {rows.labels[n]!r} is not in the class list"
        yield Finding("label", rows.lines[n], rows.filenames[n], detail)
    for n in np.flatnonzero(splits < 0):
        detail = f"split {rows.splits[n]!r}: use {', '.join(SPLITS)}"
        yield Finding("split", rows.lines[n], rows.filenames[n], detail)

    by_folder: dict[str, list[int]] = {}  # one listing at a time, so that a million rows take seconds and little memory
    for n, filename in enumerate(rows.filenames):
        by_folder.setdefault(filename[: filename.rfind("/") + 1], []).append(n)
    for folder, numbers in by_folder.items():
        outside = folder.startswith("/") or ".." in folder.split("/")
        there = set() if outside else _files_in(root / folder)
        for n in numbers:
            name = rows.filenames[n][len(folder) :]
            if outside:
                yield Finding("outside", rows.lines[n], rows.filenames[n], "leaves the data folder")
            elif name not in there:
                detail = "no such file" if name else "names no file"
                if _composed(name) in map(_composed, there if not name.isascii() else ()):
                    detail = "no such file; there is one whose name is written in another Unicode form (NFC or NFD)"
                yield Finding("missing", rows.lines[n], rows.filenames[n], detail)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _files_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if _is_file(entry)}
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return set()


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def cleaned_csv(csv: Path) -> Path:
    """Where the CSV without its bad rows goes: for class folders, labels.csv in their folder.

    Raises UserError if there is something already.
    """
    target = csv / "labels.csv" if csv.is_dir() else csv.with_name(f"{csv.stem}.cleaned.csv")
    if os.path.lexists(target):
        raise UserError(f"{target}: is there already; move it away, fixing never overwrites")
    return target


def write_without(csv: Path, lines: set[int]) -> Path:
    """Copy a CSV beside itself without the rows that end on these lines, and say where."""
    target = cleaned_csv(csv)
    if csv.is_dir():
        listed, _ = _from_tree(csv)
        rows_of_tree = zip(listed.lines, listed.filenames, listed.labels, listed.splits)
        write_csv(target, _COLUMNS, [row for line, *row in rows_of_tree if line not in lines])
        return target
    with open_csv(csv) as rows:
        header, *kept = [row for row in rows if rows.line_num not in lines]
    write_csv(target, header, kept)
    return target


def write_tables(folder: Path, *, rows: Sequence[tuple[str, str, str]], classes: ClassList) -> None:
    """Write `labels.csv` from rows of (filename, label, split), numbered, and `classes.txt` in output order."""
    write_csv(folder / "labels.csv", ["", *_COLUMNS], ([n, *row] for n, row in enumerate(rows)))
    (folder / "classes.txt").write_bytes("".join(f"{line}\n" for line in classes.lines()).encode())
