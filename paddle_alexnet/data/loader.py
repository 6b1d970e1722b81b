"""Batches for `paddle.Model`: images decoded and augmented by threads, a few batches ahead.

Threads, not the worker processes of `paddle.io.DataLoader`: Pillow and NumPy release the
interpreter lock, so they run in parallel; an error keeps its type and reaches the caller (with
`num_workers=0` Paddle's loader hangs for ever when `__getitem__` raises); none outlives the
iteration; and no shared memory is needed, however small `/dev/shm` is.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Optional

import numpy as np
import paddle

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.augmentation import Draws, PixelChanges, augment, draw, finish, mixup, random_parts, ten_crops
from paddle_alexnet.data.dataset import ImageDataset, UnreadableImages
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.statistics import Statistics
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError

_AHEAD = 2  # batches
_CHUNK = 8  # images that a thread takes at once: many for NumPy's sake, few enough for the processor's cache

PADDING = -100  # the label of a row that only fills up a batch: of no class, and what `cross_entropy` leaves out

_log = logging.getLogger(__name__)


def is_sample(label: paddle.Tensor) -> paddle.Tensor:
    """Which rows are samples and no padding, bool [N], of classes [N] or shares of them [N, C]."""
    return label.sum(axis=1) > 0 if label.ndim == 2 else label != PADDING


class Chunk(NamedTuple):
    """Some images of a batch: those that are readable, and a message by index for each of the others."""

    image: np.ndarray  # [n, 3, S, S] or [n, 10, 3, S, S], finished float32, or uint8 to finish on the device
    label: np.ndarray  # [n] int64
    changes: PixelChanges  # left to do
    unreadable: dict[int, str]


class Loader:
    """Iterate over batches (image [N, 3, S, S] float32, label [N] int64), each readable sample once.

    The last batch holds what is left. With `shuffle`, the order follows from the seed and from how often the loader
    has been iterated, so each epoch has its own and a run can be repeated; so does the random `augmentation`. With its
    mixup the labels are shares [N, C] float32. With `crops=10` a sample is ten images in a row.

    `preprocess` may normalize otherwise than the dataset's own, but not cut otherwise. What is unreadable goes to
    `unreadable`, which raises UserError where it is too much. With `on_device` uint8 images are sent to the device and
    normalized there.

    Of several `ranks`, each takes its share of every batch of `batch_size`: the samples `rank`, `rank` + `ranks`, ….
    Shares are of one size: where there are too few samples, black images fill it up, of no class (see `PADDING`).
    """

    def __init__(
        self,
        dataset: ImageDataset,
        preprocess: Preprocess,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
        augmentation: Optional[DataConfig] = None,
        statistics: Optional[Statistics] = None,
        unreadable: Optional[UnreadableImages] = None,
        crops: int = 1,
        on_device: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.dataset, self.preprocess = dataset, preprocess
        self.batch_size, self.shuffle, self.seed, self.workers = batch_size, shuffle, seed, workers
        self.augmentation, self.statistics = augmentation, statistics
        self.unreadable = UnreadableImages() if unreadable is None else unreadable
        self.crops, self.on_device = crops, on_device
        self.rank, self.ranks = rank, ranks
        self.epoch = 0  # that the next iteration is of
        self.first = 0  # the batch that it starts with; those after it start with 0
        self.position = 0  # the batches that the present iteration has been through

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, paddle.Tensor]]:
        epoch, first, images = self.epoch, self.first, len(self.dataset)
        self.epoch, self.first = epoch + 1, 0
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(images) if self.shuffle else np.arange(images)
        whole = -(-self.batch_size // self.ranks)  # images in a share of a whole batch
        size = min(_CHUNK, -(-whole // self.workers))
        starts = range(first * self.batch_size, images, self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        together = 1 if self.augmentation is None else self.augmentation.shared_crops
        leader = dict(zip(order.tolist(), np.repeat(order[::together], together).tolist()))  # of the images in a row
        shares = [batch[self.rank :: self.ranks] for batch in batches]
        chunks = (share[start : start + size].tolist() for share in shares for start in range(0, len(share), size))
        ahead = _AHEAD * -(-whole // size)

        def prepare(chunk: list[int]) -> Chunk:
            return self.prepare(chunk, [leader[index] for index in chunk], epoch=epoch)

        prepared = in_threads(prepare, chunks, workers=self.workers, ahead=ahead)
        skipped = 0
        with closing(prepared):  # the threads end here, also where the consumer stops early
            for step, (batch, share) in enumerate(zip(batches, shares), start=first):
                parts = list(islice(prepared, -(-len(share) // size)))
                messages = [message for part in parts for message in part.unreadable.values()]
                for message in messages:
                    self.unreadable.add(message)
                skipped += len(messages)
                self.position = step + 1
                mine = self.collate(parts, epoch=epoch, step=step) if len(messages) < len(share) else None
                if self.ranks > 1:
                    yield self._filled(mine, -(-len(batch) // self.ranks))
                elif mine:
                    yield mine
        if skipped:
            _log.warning(f"{skipped} unreadable {self.dataset.split} images were skipped in this epoch")

    def sample(self, images: int) -> paddle.Tensor:
        """At most so many images [N, 3, S, S], at random, as the first epoch trains on them but for mixup.

        The iteration is not changed; every rank gets the same. Raises UserError where too many cannot be read, or none.
        """
        order = np.random.default_rng([self.seed, 0]).permutation(len(self.dataset))[:images].tolist()
        chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        with closing(in_threads(partial(self.prepare, epoch=0), chunks, workers=self.workers)) as prepared:
            parts = list(prepared)
        for message in (message for part in parts for message in part.unreadable.values()):
            self.unreadable.add(message)
        if not any(len(part.label) for part in parts):
            raise UserError(f"none of the first {len(order)} {self.dataset.split} images can be read")
        image = self._images_of(parts)
        return image if self.on_device else _tensor(image)

    def prepare(self, indices: list[int], leaders: Optional[list[int]] = None, *, epoch: int) -> Chunk:
        """Some images of a batch: patches, cropped and augmented, and normalized unless the device does that.

        With `leaders`, the indices of as many images, each is cropped and flipped as its leader is.
        """
        config, changes = self.augmentation, PixelChanges()
        if config is None:
            patches, unreadable = self.dataset.patches(indices)
            size, edge = self.preprocess.image_size, self.preprocess.edge(patches.shape[-1])
            image = ten_crops(patches, size, edge) if self.crops == 10 else self.preprocess.center(patches)
        else:
            draws = draw(indices, leaders, seed=self.seed, epoch=epoch)
            parts = random_parts(draws, least=config.crop_area) if config.geometry == "random_resized_crop" else None
            patches, unreadable = self.dataset.patches(indices, parts)
            if unreadable:  # what remains keeps its numbers: they follow from the index
                readable = [n for n, index in enumerate(indices) if index not in unreadable]
                draws = Draws(*(numbers[readable] for numbers in draws))
            image, changes = augment(patches, draws, config, self.preprocess, self.statistics, epoch=epoch)
        if not self.on_device:
            image, changes = finish(image, changes, self.preprocess), PixelChanges()
        label = self.dataset.labels[[i for i in indices if i not in unreadable]]
        return Chunk(image, label, changes, unreadable)

    def collate(self, chunks: list[Chunk], *, epoch: int, step: int) -> tuple[paddle.Tensor, paddle.Tensor]:
        """A batch from its chunks."""
        image, label = self._images_of(chunks), np.concatenate([chunk.label for chunk in chunks])
        if self.augmentation and self.augmentation.mixup:
            rng = np.random.default_rng([self.seed, epoch, step, 1 + self.rank])
            classes = len(self.dataset.table.classes)
            image, label = mixup(image, label, classes, rng, alpha=self.augmentation.mixup)
        if self.crops > 1:
            image = image.reshape([-1, *image.shape[2:]])
        return image if self.on_device else _tensor(image), paddle.to_tensor(label)

    def _images_of(self, chunks: list[Chunk]) -> Any:
        """Those of some chunks in one, finished: a tensor on the device, else an array."""
        image = np.concatenate([chunk.image for chunk in chunks])
        if not self.on_device:
            return image
        each = zip(*(chunk.changes for chunk in chunks))
        changes = PixelChanges(*(None if parts[0] is None else np.concatenate(parts) for parts in each))
        return finish(image, changes, self.preprocess, paddle.to_tensor)

    def _filled(
        self, batch: Optional[tuple[paddle.Tensor, paddle.Tensor]], size: int
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """A rank's share of a batch, filled up to the size that all ranks' have; without one, of padding alone."""
        missing = size - (len(batch[1]) if batch else 0)
        if batch and not missing:
            return batch
        side = self.preprocess.image_size
        image = paddle.zeros([missing, 3, side, side])
        if self.augmentation and self.augmentation.mixup:
            label = paddle.zeros([missing, len(self.dataset.table.classes)])
        else:
            label = paddle.full([missing], PADDING, "int64")
        return (paddle.concat([batch[0], image]), paddle.concat([batch[1], label])) if batch else (image, label)


def _tensor(array: np.ndarray) -> paddle.Tensor:
    """A tensor on the present device; on a processor with the memory of the array, which `to_tensor` would copy."""
    if paddle.device.get_device() != "cpu":
        return paddle.to_tensor(array)
    return paddle.Tensor(
        value=array, place=paddle.CPUPlace(), persistable=False, zero_copy=True, name="", stop_gradient=True
    )
