"""The CSV table of a data set, read and checked by the same rules for training and inspection."""

import hashlib
import json
import os
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from csv import Error
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from paddle_alexnet.data.classes import ClassList, is_plain, wnid_of
from paddle_alexnet.data.findings import Finding
from paddle_alexnet.data.splits import SPLIT_NAMES, SPLITS
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.data.tree import Tree, list_tree
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import explain_error, open_csv, write_csv
from paddle_alexnet.system.user_path import UserPath

LARGEST_CSV = 4_000_000_000  # bytes; an ImageNet row has 60
_COLUMNS = ("filename", "label", "split")
_CHUNK = 1000  # files


class Rows(NamedTuple):
    """The complete rows of a CSV as columns, before their content is checked."""

    lines: list[int]  # of the CSV, where each row ends; images of class folders count from -1 down
    filenames: list[str]
    labels: list[str]
    splits: list[str]
    notes: Sequence[str] = ()  # on skipped files of class folders

    def codes(self, classes: ClassList) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's class index, int64, and split index in SPLITS, int8; -1 if unknown."""
        label, split = classes.index(), {name: index for index, name in enumerate(SPLITS)}
        count = len(self.lines)
        return (
            # A label such as "n01440764 tench, Tinca tinca" is a line of a class list, which its wnid alone names.
            np.fromiter((label.get(text, label.get(wnid_of(text) or "", -1)) for text in self.labels), np.int64, count),
            np.fromiter((split.get(text, -1) for text in self.splits), np.int8, count),
        )


@dataclass(frozen=True)
class ImageFiles:
    """Fingerprints of the train and val image files: SHA-256 over all files in the table's order."""

    sizes: str
    times: str  # of the last modification
    content: Optional[str] = None  # None if some were not read before the first step


@dataclass(frozen=True)
class ImageTable:
    """A checked CSV: every row has an existing file, a known label and a known split."""

    root: Path
    csv: Path
    classes: ClassList
    lines: np.ndarray  # [rows] int64, of the CSV
    filenames: np.ndarray  # [rows] str, below root
    labels: np.ndarray  # [rows] int64
    splits: np.ndarray  # [rows] int8, index into SPLITS
    notes: Sequence[str] = ()  # on skipped files of class folders
    given: Optional[Mapping[str, Any]] = None  # by split, the data sets that hold the images if there are no files

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split. Raises UserError if the split is empty."""
        rows = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(rows):
            raise UserError(f"{self.csv}: split {split!r} is empty; assign rows in the column 'split'")
        return rows

    def fingerprint(self) -> str:
        """Return the SHA-256 of names, classes and splits in order, wherever the folder lies."""
        digest = hashlib.sha256(json.dumps([self.classes.names, *self.filenames.tolist()]).encode())
        digest.update(self.labels.tobytes() + self.splits.tobytes())
        return digest.hexdigest()

    def image_files(self, *, workers: int = 8) -> ImageFiles:
        """Return hashes of the sizes and modification times of the train and val images, by one call per file.

        Raises:
            UserError: An image is unreadable.
        """
        if self.given is not None:  # no files: the content decides whether the images are the same
            return ImageFiles("", str(time.time_ns()))

        def look(chunk: np.ndarray) -> np.ndarray:
            found = (os.stat(f"{self.root}/{name}") for name in chunk)
            return np.array([(each.st_size, each.st_mtime_ns) for each in found], np.int64)

        names = self.filenames[np.concatenate([self.rows(split) for split in ("train", "val")])]
        chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
        sizes, times = hashlib.sha256(), hashlib.sha256()
        try:
            with closing(in_threads(look, chunks, workers=workers)) as looked:
                for found in looked:
                    sizes.update(found[:, 0].tobytes())
                    times.update(found[:, 1].tobytes())
        except OSError as error:
            raise UserError(f"{error.filename}: is unreadable ({error.strerror}); check the file") from None
        return ImageFiles(sizes.hexdigest(), times.hexdigest())


def find_root(root: Optional[Path], csv: Optional[Path]) -> Optional[Path]:
    """Return `root`, else the CSV's folder, else `data` if it holds a data set, else None."""
    if root is None and csv is not None:
        return csv.parent
    if root is None and UserPath("data/labels.csv").is_file():
        return UserPath("data")
    return root


def check_there(root: Path, csv: Optional[Path] = None, classes: Optional[Path] = None) -> Path:
    """Return the data set's CSV, by default `labels.csv` in `root`, or `root` itself if it has class folders instead.

    Raises:
        UserError: The folder, the CSV or the class list is not found, empty or too large.
    """
    if not root.is_dir():
        raise MissingFileError(f"{root}: image folder not found; check data.root, or create one with prepare-data")
    if csv is None or csv == root:
        csv, tree = root / "labels.csv", Tree(root)
        if not csv.exists() and tree.folders(root):
            csv = root
        elif not csv.exists() and tree.only_heic():
            raise tree.no_images()
    if not csv.exists():
        raise MissingFileError(f"{csv}: CSV not found; check data.csv, or create one with prepare-data")
    if classes is not None and not classes.exists():
        raise MissingFileError(f"{classes}: class list not found; check data.classes")
    for path in filter(None, (None if csv == root else csv, classes)):
        if not path.is_file() or not 0 < path.stat().st_size <= LARGEST_CSV:  # an endless file of /proc has 0 bytes
            raise UserError(f"{path}: must be a regular file of 1 byte to {LARGEST_CSV / 1e9:g} GB; choose another")
    return csv


def read_table(root: Path, csv: Optional[Path] = None, classes: Union[Path, ClassList, None] = None) -> ImageTable:
    """Read and check a data set.

    Args:
        csv: By default `labels.csv` in `root`, else the class folders in `root` (see `list_tree`).
        classes: See `read_rows`.

    Raises:
        UserError: The CSV is unreadable, or a row is wrong; the message names the first such line.
    """
    csv, rows, class_list, malformed = read_rows(root, csv, classes)
    findings = chain(malformed, check_rows(rows, root, class_list))
    first = min(findings, key=lambda finding: abs(finding.line), default=None)
    if first is not None:
        raise UserError(f"{csv}, {first} (images in {root}); list all such rows with inspect-data")
    if not rows.lines:
        raise UserError(f"{csv}: must have rows below its header; add one per image")
    lines, filenames = np.array(rows.lines), np.array(rows.filenames, object)
    return ImageTable(root, csv, class_list, lines, filenames, *rows.codes(class_list), rows.notes)


def read_rows(
    root: Path, csv: Optional[Path] = None, classes: Union[Path, ClassList, None] = None
) -> tuple[Path, Rows, ClassList, list[Finding]]:
    """Return the CSV's path, its complete rows, its classes, and a finding for each incomplete row.

    Args:
        classes: By default `classes.txt` beside the CSV, else the CSV's sorted labels.

    Raises:
        UserError: A file is not found or unreadable, or the CSV lacks a column.
    """
    csv = check_there(root, csv, classes if isinstance(classes, Path) else None)
    rows, malformed = _from_tree(root) if csv == root else _from_csv(csv, root)
    beside = (csv if csv == root else csv.parent) / "classes.txt"
    if classes is None and beside.is_file():
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
                    has = ", ".join(map(repr, header)) or "none"
                    raise UserError(f"{csv}: column {column!r} not found among {has}; rename or add it")
            pick = itemgetter(*map(names.index, _COLUMNS))
            for row in table:
                if len(row) == len(header):
                    filename, label, split = pick(row)
                    rows.lines.append(table.line_num)
                    if "\\" in filename and not os.path.lexists(root / filename):  # Windows paths
                        filename = filename.replace("\\", "/")
                    rows.filenames.append(filename)
                    rows.labels.append(intern(label.strip()))  # shares the memory of repeated labels
                    rows.splits.append(intern(SPLIT_NAMES.get(split.strip().lower(), split.strip())))
                elif row:  # not a blank line
                    detail = f"{len(row)} fields, the header has {len(header)}"
                    if len(row) == len(header) + 1 and not row[-1]:
                        detail += ": the row ends in a comma, the header does not"
                    malformed.append(Finding("malformed", table.line_num, "", intern(detail)))
    except UserError:
        raise
    except (OSError, ValueError, Error) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{csv}: the CSV is unreadable ({explain_error(error)})") from None
    return rows, malformed


def _from_tree(root: Path) -> tuple[Rows, list[Finding]]:
    listed, notes = list_tree(root)
    if len({label for _, label, _ in listed}) < 2:
        skipped = "".join(f" ({note})" for note in notes if note.startswith("left"))
        raise UserError(
            f"{root}: must have labels.csv or an image folder for each of two or more classes{skipped}; "
            "create a data set with prepare-data"
        )
    filenames, labels, splits = map(list, zip(*listed))
    return Rows([-1 - n for n in range(len(listed))], filenames, labels, splits, notes), []


def check_rows(rows: Rows, root: Path, classes: ClassList) -> Iterator[Finding]:
    """Yield a finding for each unknown label, unknown split and missing file."""
    labels, splits = rows.codes(classes)
    for n in np.flatnonzero(labels < 0):
        detail = f"label {rows.labels[n]!r} is not in the class list"
        yield Finding("label", rows.lines[n], rows.filenames[n], detail)
    for n in np.flatnonzero(splits < 0):
        detail = f"split {rows.splits[n]!r}: use {', '.join(SPLITS)}"
        yield Finding("split", rows.lines[n], rows.filenames[n], detail)

    by_folder: dict[str, list[int]] = {}  # one directory listing per folder, fast for a million rows
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
                detail = "file not found" if name else "has no file name"
                if _composed(name) in map(_composed, there if not name.isascii() else ()):
                    detail = "file not found; a file exists whose name has another Unicode form (NFC or NFD)"
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
    """Return the path of the cleaned CSV: labels.csv for class folders. Raises UserError if it already exists."""
    target = csv / "labels.csv" if csv.is_dir() else csv.with_name(f"{csv.stem}.cleaned.csv")
    if os.path.lexists(target):
        raise UserError(f"{target}: already exists and is never overwritten; move it away")
    return target


def write_without(csv: Path, lines: set[int]) -> Path:
    """Copy a CSV beside itself without the rows that end on `lines`, and return the copy's path."""
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
    """Write `labels.csv` from numbered rows of (filename, label, split), and `classes.txt` in output order."""
    write_csv(folder / "labels.csv", ["", *_COLUMNS], ([n, *row] for n, row in enumerate(rows)))
    (folder / "classes.txt").write_bytes("".join(f"{line}\n" for line in classes.lines()).encode())
