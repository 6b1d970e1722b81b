"""Labeled image datasets: a folder of images and a CSV with filename, label and split."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import paddle

from paddle_alexnet.data.preprocess import Part, Preprocess
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """The decoded patches of a split."""

    planes: np.ndarray  # uint8 [N, 3, P, P]
    unreadable: dict[int, str]  # index to message


class ImageDataset(paddle.io.Dataset):
    """One split of a table: (image uint8 [S, S, 3], label int64) by index.

    If `decoded` is set, `patches` reads it instead of the files.
    """

    def __init__(self, table: ImageTable, split: str, preprocess: Preprocess) -> None:
        self.table, self.split, self.preprocess = table, split, preprocess
        self.rows = table.rows(split)
        self.labels = table.labels[self.rows]
        self.decoded: Optional[Decoded] = None
        self.hashing = False  # `patches` hashes each file that it reads
        self.hashes = np.zeros(len(self.rows), np.uint64)  # of each file's content, 0 before it is read

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.read(index, self.preprocess), self.labels[index]

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, index: int) -> Path:
        return self.table.root / self.table.filenames[self.rows[index]]

    def read(self, index: int, decode: Callable[[Path], np.ndarray]) -> np.ndarray:
        """Return `decode(path)` of an image. Raises UserError with the CSV line if the image is unreadable."""
        try:
            return decode(self.path(index))
        except UserError as error:
            line = self.table.lines[self.rows[index]]  # negative without a CSV
            raise UserError(f"{self.table.csv}, line {line}: {error}" if line > 0 else str(error)) from None

    def patches(
        self, indices: Sequence[int], parts: Optional[Sequence[Part]] = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Return the patches of the readable images, uint8 [n, 3, P, P], and a message by index for the others.

        Args:
            parts: Part of each image to return instead, resized to [n, 3, S, S].
        """
        if self.decoded is not None and parts is None:
            unreadable = {i: self.decoded.unreadable[i] for i in indices if i in self.decoded.unreadable}
            return self.decoded.planes[[i for i in indices if i not in unreadable]], unreadable
        size = self.preprocess.patch_size if parts is None else self.preprocess.image_size
        planes, count, unreadable = np.empty((len(indices), 3, size, size), np.uint8), 0, {}
        for n, index in enumerate(indices):
            if self.hashing and not self.hashes[index]:
                self.hashes[index] = _hash(self.path(index))
            how = self.preprocess.patch if parts is None else partial(self.preprocess.cut, part=parts[n])
            try:
                planes[count] = self.read(index, partial(how, planar=True))
                count += 1
            except UserError as error:
                unreadable[index] = str(error)
        return planes[:count], unreadable


def hash_of_content(datasets: Sequence[ImageDataset], *, read: bool = False, workers: int = 1) -> Optional[str]:
    """Return the SHA-256 of the hashes of every file's content, or None if some files have no hash yet.

    Args:
        read: Hash the remaining files now.
    """
    for dataset in datasets if read else ():
        missing = np.flatnonzero(dataset.hashes == 0)
        with closing(in_threads(_hash, map(dataset.path, missing), workers=workers)) as hashed:
            what = f"comparing {dataset.split} images"
            dataset.hashes[missing] = np.fromiter(progress(hashed, what=what, total=len(missing)), np.uint64)
    if not all(dataset.hashes.all() for dataset in datasets):
        return None
    return hashlib.sha256(b"".join(dataset.hashes.tobytes() for dataset in datasets)).hexdigest()


def _hash(path: Path) -> int:
    """Return the first 64 bits of a file's SHA-256 in little-endian order, or 0 if the file is unreadable."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return 0
    return int.from_bytes(digest.digest()[:8], "little")


class UnreadableImages:
    """The unreadable images of a run, each logged and counted once; more than `limit` are an error."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.messages: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Count and log a skipped image. Raises UserError with `message` beyond the limit."""
        if message in self.messages:
            return
        if len(self.messages) >= self.limit:
            more = f" ({self.limit} such images were skipped, data.fault_limit allows no more)" if self.limit else ""
            raise UserError(message + more)
        self.messages[message] = None
        _log.warning(f"skipped: {message}")


def verify_images(dataset: ImageDataset, unreadable: UnreadableImages, *, workers: int) -> None:
    """Decode every image once. Raises UserError with the first message if more are unreadable than the limit."""

    def message(index: int) -> Optional[str]:
        return dataset.patches([index])[1].get(index)

    with closing(in_threads(message, range(len(dataset)), workers=workers)) as checked:
        found = [m for m in progress(checked, what=f"checking {dataset.split} images", total=len(dataset)) if m]
    if len(found) > max(1, unreadable.limit):
        raise UserError(f"{found[0]} (and {len(found) - 1} more such images)")
    for each in found:
        unreadable.add(each)
