"""Batches for `paddle.Model`: images decoded and transformed by threads, a few batches ahead.

Threads, not the worker processes of `paddle.io.DataLoader`: Pillow and NumPy release the
interpreter lock, so they run in parallel; an error keeps its type and reaches the caller (with
`num_workers=0` Paddle's loader hangs for ever when `__getitem__` raises); none outlives the
iteration; and no shared memory is needed, however small `/dev/shm` is.
"""

import functools
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from itertools import islice
from typing import Any, Optional

import numpy as np
import paddle
from tqdm import tqdm

from paddle_alexnet.config import DataConfig
from paddle_alexnet.data import augmentation as augment
from paddle_alexnet.data.augmentation import Colours
from paddle_alexnet.data.cache import Decoded, read_patches
from paddle_alexnet.data.dataset import Faults, LabelledImages
from paddle_alexnet.data.preprocess import Preprocess, decode
from paddle_alexnet.data.statistics import Statistics
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.errors import UserError

_AHEAD = 2  # batches
_CHUNK = 8  # images that a thread takes at once: many for NumPy's sake, few enough for the processor's cache

Part = tuple[np.ndarray, dict[int, str], Colours]  # images, messages by position, changes left to do


class Loader:
    """Iterate over batches (image [N, 3, S, S] float32, label [N] int64), each readable sample once.

    The last batch holds what is left. With `shuffle`, the order follows from the seed and from how often the loader
    has been iterated, so each epoch has its own and a run can be repeated; so do the random changes of `changes`.
    With its mixup the labels are shares [N, C] float32. With `crops=10` a sample is ten images in a row.

    Patches come from `decoded`, else from the files. What is unreadable goes to `faults`, which raises UserError where
    it is too much. With `on_device` uint8 images are sent to the device and normalised there.
    """

    def __init__(
        self,
        dataset: LabelledImages,
        preprocess: Preprocess,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
        changes: Optional[DataConfig] = None,
        statistics: Optional[Statistics] = None,
        decoded: Optional[Decoded] = None,
        faults: Optional[Faults] = None,
        crops: int = 1,
        on_device: bool = False,
    ) -> None:
        self.dataset, self.preprocess = dataset, preprocess
        self.batch_size, self.shuffle, self.seed, self.workers = batch_size, shuffle, seed, workers
        self.changes, self.statistics, self.decoded = changes, statistics, decoded
        self.faults = Faults() if faults is None else faults
        self.crops, self.on_device = crops, on_device
        self.epoch = 0
        self._size = preprocess.image_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, paddle.Tensor]]:
        epoch, images = self.epoch, len(self.dataset)
        self.epoch += 1
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(images) if self.shuffle else np.arange(images)
        size = min(_CHUNK, -(-self.batch_size // self.workers))
        chunks = [
            order[at : min(at + size, start + self.batch_size)]
            for start in range(0, images, self.batch_size)
            for at in range(start, min(start + self.batch_size, images), size)
        ]
        per_batch = -(-self.batch_size // size)
        ready = in_threads(
            lambda chunk: self.prepare(chunk, epoch=epoch), chunks, workers=self.workers, ahead=_AHEAD * per_batch
        )
        skipped = 0
        with closing(ready):  # the threads end here, also where the consumer stops early
            for step in range(len(self)):
                batch = order[step * self.batch_size :][: self.batch_size]
                parts = list(islice(ready, -(-len(batch) // size)))
                readable = np.concatenate([[i not in bad for i in range(len(part))] for part, bad, _ in parts])
                for _, bad, _ in parts:
                    for message in bad.values():
                        self.faults.add(message)
                skipped += int((~readable).sum())
                if readable.any():
                    yield self.collate(parts, self.dataset.labels[batch], readable, epoch=epoch, step=step)
        if skipped:
            tqdm.write(f"{skipped} unreadable {self.dataset.split} images were skipped in this epoch", file=sys.stderr)

    def prepare(self, indices: np.ndarray, *, epoch: int) -> Part:
        """A part of a batch: uint8 for the device or finished float32, [n, 3, S, S] or [n, 10, 3, S, S]."""
        colours = Colours()
        if self.changes is None:
            patches, bad = read_patches(self.dataset, self.preprocess, indices, self.decoded)
            if self.crops == 10:
                planes = augment.ten_crops(patches, self._size)
            else:
                edge = (self.preprocess.patch_size - self._size) // 2
                planes = patches[..., edge : edge + self._size, edge : edge + self._size]
        else:
            planes, bad, colours = self._change(self.changes, indices, epoch)
        if not self.on_device:
            planes, colours = augment.finish(planes, self.preprocess.scale, self.preprocess.offset, colours), Colours()
        return planes, bad, colours

    def _change(self, changes: DataConfig, indices: np.ndarray, epoch: int) -> Part:
        draws = augment.draw(indices, seed=self.seed, epoch=epoch)
        if changes.geometry == "random_resized_crop":
            planes, bad = self._random_parts(indices, draws)
        else:
            patches, bad = read_patches(self.dataset, self.preprocess, indices, self.decoded)
            planes = augment.random_crops(patches, self._size, draws)
        if changes.mirror:
            augment.mirror(planes, draws)
        return planes, bad, augment.colours(planes, draws, changes, self.statistics, self.preprocess.scale)

    def _random_parts(self, indices: np.ndarray, draws: augment.Draws) -> tuple[np.ndarray, dict[int, str]]:
        """A random part of each image, cut when it is decoded; of each patch where they are decoded already."""
        if self.decoded:
            patches, bad = read_patches(self.dataset, self.preprocess, indices, self.decoded)
            return augment.resize_parts(patches, self._size, draws), bad
        planes = np.zeros((len(indices), 3, self._size, self._size), np.uint8)
        bad = {}
        for i, (index, uniform) in enumerate(zip(indices, draws.uniform)):
            part = functools.partial(augment.random_part, uniform=uniform)
            try:
                image = self.dataset.read(index, functools.partial(decode, size=self._size, box=part))
                planes[i] = image.transpose(2, 0, 1)
            except UserError as error:
                bad[i] = str(error)
        return planes, bad

    def collate(
        self, parts: list[Part], label: np.ndarray, readable: np.ndarray, *, epoch: int, step: int
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """A batch from its parts, their labels [N] and which of them are `readable` [N]."""
        image: Any = _join([planes for planes, _, _ in parts], readable)
        label = label[readable]
        if self.on_device:
            colours = {
                entry.name: paddle.to_tensor(_join([getattr(part[2], entry.name) for part in parts], readable))
                for entry in fields(Colours)
                if getattr(parts[0][2], entry.name) is not None
            }
            scale, offset = paddle.to_tensor(self.preprocess.scale), paddle.to_tensor(self.preprocess.offset)
            image = augment.finish(paddle.to_tensor(image), scale, offset, Colours(**colours))
        if self.changes and self.changes.mixup:
            rng = np.random.default_rng([self.seed, epoch, step, 1])
            classes = len(self.dataset.table.classes)
            image, label = augment.mixup(image, label, classes, rng, alpha=self.changes.mixup)
        if self.crops > 1:
            image = image.reshape([-1, 3, self._size, self._size])
        return image if self.on_device else paddle.to_tensor(image), paddle.to_tensor(label)


def _join(parts: list[np.ndarray], readable: np.ndarray) -> np.ndarray:
    whole = np.concatenate(parts)
    return whole if readable.all() else whole[readable]
