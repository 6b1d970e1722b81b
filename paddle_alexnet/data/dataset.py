"""Labeled image datasets: a folder of images and a CSV with filename, label and split."""

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np
import paddle

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Part, Preprocess, Source, decode_rgb
from paddle_alexnet.data.splits import SPLITS
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress
from paddle_alexnet.system.user_path import user_path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """The decoded patches of a split."""

    planes: np.ndarray  # uint8 [N, 3, P, P]
    unreadable: dict[int, str]  # index to message


class ImageDataset(paddle.io.Dataset):
    """One split of an image folder with a table, as pairs of (image, label).

    Without a `transform`, an image is uint8 [H, W, 3], RGB, upright by its EXIF orientation; a label is an int64.

    Args:
        root: A folder with `labels.csv`, or with a folder of images per class.
        split: "train", "val" or "test".
        csv: The table, with the columns filename, label and split; by default `labels.csv` in `root`.
        classes: The class list, a file with one class per line; by default `classes.txt` beside the table, else the
            sorted labels.
        transform: A function of the image's path, such as a `Preprocess`.

    Raises:
        UserError: The data set is not found, the split is empty, or a row of the table is wrong.
    """

    def __init__(
        self,
        root: Union[str, os.PathLike[str]],
        split: str = "train",
        *,
        csv: Optional[Union[str, os.PathLike[str]]] = None,
        classes: Optional[Union[str, os.PathLike[str]]] = None,
        transform: Optional[Callable[[Path], Any]] = None,
    ) -> None:
        paths = (None if path is None else user_path(path) for path in (csv, classes))
        self._select(read_table(user_path(root), *paths), one_of(split, SPLITS, what="split"))
        self.transform = transform or decode_rgb

    def _select(self, table: ImageTable, split: str) -> None:
        self.table, self.split = table, split
        self.rows = table.rows(split)
        self.labels = table.labels[self.rows]

    def __getitem__(self, index: int) -> tuple[Any, np.int64]:
        return self.read(index, self.transform), self.labels[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.table.classes.names

    def path(self, index: int) -> Path:
        return self.table.root / self.table.filenames[self.rows[index]]

    def source(self, index: int) -> Source:
        """Return what an image is decoded from."""
        return self.path(index) if self.table.given is None else _item(self.table.given[self.split], index)

    def read(self, index: int, decode: Callable[[Any], Any]) -> Any:
        """Return `decode(source)` of an image. Raises UserError with the CSV line if the image is unreadable."""
        try:
            return decode(self.source(index))
        except UserError as error:
            if self.table.given is not None:
                raise type(error)(f"{self.split} image {index}: {str(error).removeprefix('the image: ')}") from None
            line = self.table.lines[self.rows[index]]  # negative without a CSV
            raise type(error)(f"{self.table.csv}, line {line}: {error}" if line > 0 else str(error)) from None


class PatchDataset(ImageDataset):
    """One split of a table as the loader reads it: uint8 patches, decoded now or before.

    If `decoded` is set, `patches` reads it instead of the files.
    """

    def __init__(self, table: ImageTable, split: str, preprocess: Preprocess) -> None:
        self._select(table, split)
        self.preprocess, self.transform = preprocess, preprocess.pixels
        self.decoded: Optional[Decoded] = None
        self.hashing = False  # `patches` hashes each image that it reads
        self.hashes = np.zeros(len(self.rows), np.uint64)  # of each image's content, 0 before it is read

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
                self.hashes[index] = _hash(self.source(index))
            how = self.preprocess.patch if parts is None else partial(self.preprocess.cut, part=parts[n])
            try:
                planes[count] = self.read(index, partial(how, planar=True))
                count += 1
            except UserError as error:
                unreadable[index] = str(error)
        return planes[:count], unreadable


def hash_of_content(datasets: Sequence[PatchDataset], *, read: bool = False, workers: int = 1) -> Optional[str]:
    """Return the SHA-256 of the hashes of every file's content, or None if some files have no hash yet.

    Args:
        read: Hash the remaining files now.
    """
    for dataset in datasets if read else ():
        missing = np.flatnonzero(dataset.hashes == 0)
        with closing(in_threads(_hash, map(dataset.source, missing), workers=workers)) as hashed:
            what = f"comparing {dataset.split} images"
            dataset.hashes[missing] = np.fromiter(progress(hashed, what=what, total=len(missing)), np.uint64)
    if not all(dataset.hashes.all() for dataset in datasets):
        return None
    return hashlib.sha256(b"".join(dataset.hashes.tobytes() for dataset in datasets)).hexdigest()


def _hash(source: Source) -> int:
    """Return the first 64 bits of the SHA-256 of an image's content, in memory order; 0 if it is unreadable."""
    digest = hashlib.sha256()
    try:
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        else:
            digest.update(source if isinstance(source, bytes) else np.asarray(source).tobytes())
    except OSError:
        return 0
    return int.from_bytes(digest.digest()[:8], "little")


def table_of_sets(train_set: paddle.io.Dataset, val_set: paddle.io.Dataset) -> ImageTable:
    """Return the table of two data sets of (image, label), whose images stay in the sets.

    Labels are taken from an attribute `labels` or `targets`, else from one pass over the items. The class names are in
    an attribute `classes`, else the classes are numbered.

    Raises:
        UserError: A set is empty, a label is not a class, or the sets differ in their classes.
    """
    given = {"train": train_set, "val": val_set}
    labels = {split: _labels(dataset, f"{split}_set") for split, dataset in given.items()}
    names = [tuple(map(str, found)) for each in given.values() if (found := getattr(each, "classes", None)) is not None]
    if len(set(names)) > 1:
        raise UserError("train_set and val_set: must have the same classes in the same order; correct one of them")
    highest = max(int(values.max()) for values in labels.values())
    if names and highest >= len(names[0]):
        raise UserError(f"train_set: label {highest} does not match its {len(names[0])} classes; correct `classes`")
    classes = ClassList(names[0], (None,) * len(names[0])) if names else ClassList.unnamed(highest + 1)
    counts = [len(values) for values in labels.values()]
    filenames = np.array([f"{split}/{n}" for split, values in labels.items() for n in range(len(values))], object)
    return ImageTable(
        Path(type(train_set).__name__),
        Path(type(train_set).__name__),
        classes,
        -1 - np.arange(sum(counts)),
        filenames,
        np.concatenate(list(labels.values())),
        np.repeat(np.array([SPLITS.index(split) for split in given], np.int8), counts),
        given=given,
    )


def _labels(dataset: paddle.io.Dataset, what: str) -> np.ndarray:
    found: Any = getattr(dataset, "labels", None)
    if found is None:
        found = getattr(dataset, "targets", None)
    if found is None:
        found = [dataset[index][1] for index in range(len(dataset))]
    try:
        labels = np.array([int(label) for label in found], np.int64)
    except (TypeError, ValueError):
        raise UserError(f"{what}: labels must be whole numbers from 0; convert them") from None
    if len(labels) != len(dataset) or not len(labels) or labels.min() < 0:
        raise UserError(f"{what}: must have images with labels from 0, has {len(dataset)} images; correct it")
    return labels


def _item(dataset: paddle.io.Dataset, index: int) -> Source:
    if isinstance(dataset, ImageDataset) and dataset.transform is decode_rgb:
        return dataset.source(index)
    image: Source = dataset[index][0]
    return image


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


def verify_images(dataset: PatchDataset, unreadable: UnreadableImages, *, workers: int) -> None:
    """Decode every image once. Raises UserError with the first message if more are unreadable than the limit."""

    def message(index: int) -> Optional[str]:
        return dataset.patches([index])[1].get(index)

    with closing(in_threads(message, range(len(dataset)), workers=workers)) as checked:
        found = [m for m in progress(checked, what=f"checking {dataset.split} images", total=len(dataset)) if m]
    if len(found) > max(1, unreadable.limit):
        raise UserError(f"{found[0]} (and {len(found) - 1} more such images)")
    for each in found:
        unreadable.add(each)
