"""A labelled image set: a folder of images and a CSV with filename, label and split."""

import sys
from pathlib import Path
from typing import Callable, Optional, TypeVar

import numpy as np
import paddle
from tqdm import tqdm

from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.errors import UserError
from paddle_alexnet.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


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
