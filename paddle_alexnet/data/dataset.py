"""A labelled image set: a folder of images and a CSV with filename, label and split."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Optional

import numpy as np
import paddle
import pandas as pd

from paddle_alexnet.cli import progress
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageTable:
    """A checked CSV: every row has a file that is there, a known label and a known split."""

    root: Path
    csv: Path
    classes: ClassList
    paths: np.ndarray  # [rows] str
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
        rows = table.rows(split)
        self.paths, self.labels = table.paths[rows], table.labels[rows]
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.transform(Path(self.paths[index])), self.labels[index]

    def __len__(self) -> int:
        return len(self.paths)


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
        columns: dict[str, Any] = {"filename": str, "label": "category", "split": "category"}
        table = pd.read_csv(csv, dtype=columns, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{csv}: no such CSV; tools/prepare_data.py makes one") from None
    except (OSError, ValueError) as error:  # pandas' ParserError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{csv}: cannot read the CSV ({' '.join(str(error).split())})") from None
    for column in ("filename", "label", "split"):
        if column not in table:
            found = ", ".join(map(repr, table.columns))
            raise UserError(f"{csv}: no column {column!r}; it has {found}")
    labels = [label.strip() for label in table["label"].cat.categories]
    if classes is None and (csv.parent / "classes.txt").is_file():
        classes = csv.parent / "classes.txt"
    class_list = ClassList.read(classes) if classes else ClassList.from_lines(sorted(set(labels)), str(csv))
    label = _codes(csv, table["label"], class_list.index(), f"it is not in {classes or csv}")
    split = _codes(csv, table["split"], {name: i for i, name in enumerate(SPLITS)}, f"use {', '.join(SPLITS)}")
    _check_files(csv, root, table["filename"])
    paths = (str(root) + os.sep + table["filename"]).to_numpy(dtype=object)
    return ImageTable(root, csv, class_list, paths, label.astype(np.int64), split.astype(np.int8))


def verify_images(paths: Sequence[str], transform: Callable[[Path], np.ndarray], *, workers: int) -> None:
    """Decode every image once. Raises UserError that names the first broken ones."""

    def fault(path: str) -> Optional[str]:
        try:
            transform(Path(path))
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        faults = [f for f in progress(pool.map(fault, paths), what="checking images", total=len(paths)) if f]
    if faults:
        more = f" (and {len(faults) - 1} more such images)" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)


def _codes(csv: Path, column: pd.Series, index: Mapping[str, int], remedy: str) -> np.ndarray:
    """The index of each value of a categorical column. Raises UserError for the first unknown one."""
    code = np.array([index.get(value.strip(), -1) for value in column.cat.categories], int)[column.cat.codes]
    if (code < 0).any():
        row = int(np.argmax(code < 0))
        raise UserError(f"{csv}, line {row + 2}: unknown {column.name} {column.iloc[row]!r}: {remedy}")
    return code


def _check_files(csv: Path, root: Path, filenames: pd.Series) -> None:
    """Every file must be there; one listing of each folder, so that a million rows take seconds."""
    listings: dict[str, set[str]] = {}
    for row, filename in enumerate(filenames):
        folder, _, name = filename.rpartition("/")
        if folder not in listings:
            if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
                raise UserError(f"{csv}, line {row + 2}: {filename!r} leaves the data folder {root}")
            try:
                listings[folder] = {entry.name for entry in os.scandir(root / folder) if entry.is_file()}
            except OSError:
                listings[folder] = set()
        if name not in listings[folder]:
            raise UserError(
                f"{csv}, line {row + 2}: no file {root / filename}: put it there, take the row out, "
                "or name the folder of the images with data.root"
            )
