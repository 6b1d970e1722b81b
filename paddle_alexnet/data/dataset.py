"""A labelled image set: a folder of images and a CSV with filename, label and split."""

import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Optional, TypeVar

import numpy as np
import paddle
import pandas as pd
from tqdm import tqdm

from paddle_alexnet.cli import progress
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.errors import UserError

SPLITS = ("train", "val", "test")

Item = TypeVar("Item")
Result = TypeVar("Result")


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


class LabelledImages(paddle.io.Dataset):
    """One split of a table: (image uint8 [S, S, 3], label int64) by index."""

    def __init__(self, table: ImageTable, split: str, transform: Callable[[Path], np.ndarray]) -> None:
        self.table, self.split, self.transform = table, split, transform
        self.rows = table.rows(split)
        self.labels = table.labels[self.rows]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.read(index, self.transform), self.labels[index]

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, index: int) -> Path:
        return self.table.root / self.table.filenames[self.rows[index]]

    def read(self, index: int, decode: Callable[[Path], Result]) -> Result:
        """What `decode` makes of an image's file; its UserError gets the line of the CSV."""
        try:
            return decode(self.path(index))
        except UserError as error:
            raise UserError(f"{self.table.csv}, line {self.rows[index] + 2}: {error}") from None


class Faults:
    """The unreadable images of a run: each named and counted once, and an error beyond the `limit`."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.messages: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Note an image that is skipped. Raises UserError instead where there are too many."""
        if message in self.messages:
            return
        if len(self.messages) >= self.limit:
            more = f" ({self.limit} such images were skipped, data.fault_limit allows no more)" if self.limit else ""
            raise UserError(message + more)
        self.messages[message] = None
        tqdm.write(f"skipped: {message}", file=sys.stderr)


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


def verify_images(dataset: LabelledImages, faults: Faults, *, workers: int) -> None:
    """Decode every image once. Raises UserError that names the first where more are broken than may be skipped."""

    def fault(index: int) -> Optional[str]:
        try:
            dataset[index]
        except UserError as error:
            return str(error)
        return None

    checked = in_threads(fault, range(len(dataset)), workers=workers)
    found = [f for f in progress(checked, what=f"checking {dataset.split} images", total=len(dataset)) if f]
    if len(found) > max(1, faults.limit):
        raise UserError(f"{found[0]} (and {len(found) - 1} more such images)")
    for message in found:
        faults.add(message)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: Optional[int] = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` in order, computed by threads that run at most `ahead` items ahead.

    Threads are enough: Pillow and NumPy release the interpreter lock. They end with the iterator.
    """
    ahead = 4 * workers if ahead is None else ahead
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
