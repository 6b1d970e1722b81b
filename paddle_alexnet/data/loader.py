"""A batch loader for `paddle.Model`, whose threads decode and augment a few batches ahead.

Unlike the worker processes of `paddle.io.DataLoader`, threads pass errors on with their type (Paddle's loader hangs if
`__getitem__` raises with `num_workers=0`), end with the iteration and require no shared memory. They run in parallel
because Pillow and NumPy release the interpreter lock.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np
import paddle

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.augmentation import Draws, PixelChanges, augment, draw, finish, mixup, random_parts, ten_crops
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from paddle_alexnet.data.statistics import Statistics

_AHEAD = 2  # batches
_CHUNK = 8  # images per task: enough for NumPy, few enough for the processor's cache

PADDING = -100  # label of a row that only fills a batch; `cross_entropy` ignores it

_log = logging.getLogger(__name__)


def is_sample(label: paddle.Tensor) -> paddle.Tensor:
    """Return which rows are samples rather than padding, bool [N], from labels [N] or probabilities [N, C]."""
    return label.sum(axis=1) > 0 if label.ndim == 2 else label != PADDING


class Chunk(NamedTuple):
    """The readable images of a part of a batch."""

    image: np.ndarray  # [n, 3, S, S] or [n, 10, 3, S, S]: finished float32, or uint8 to finish on the device
    label: np.ndarray  # [n] int64
    changes: PixelChanges  # not yet applied
    unreadable: dict[int, str]  # index to message


class Loader:
    """An iterable of batches (image [N, 3, S, S] float32, label [N] int64) with each readable sample once.

    The last batch may be smaller. Order and augmentation depend on the seed and the number of earlier iterations, so an
    epoch can be repeated.

    Args:
        preprocess: May differ from the dataset's own only in normalization.
        augmentation: Config of the random augmentation; with mixup, labels are probabilities [N, C] float32.
        statistics: Statistics of the train split, for `augment`.
        unreadable: Receives unreadable images; raises UserError beyond its limit.
        crops: 10 yields ten images in a row per sample.
        on_device: Send uint8 images to the device and normalize there.
        rank: Takes the samples `rank`, `rank` + `ranks`, … of every batch of `batch_size`.
        ranks: Shares have the same size in all ranks; black images labeled `PADDING` fill them.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        preprocess: Preprocess,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
        augmentation: Optional[DataConfig] = None,
        statistics: Optional["Statistics"] = None,
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
        self.epoch = 0  # of the next iteration
        self.first = 0  # first batch of the next iteration only
        self.position = 0  # batches that the current iteration has yielded

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, paddle.Tensor]]:
        epoch, first, images = self.epoch, self.first, len(self.dataset)
        self.epoch, self.first = epoch + 1, 0
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(images) if self.shuffle else np.arange(images)
        whole = -(-self.batch_size // self.ranks)  # images per rank in a full batch
        size = min(_CHUNK, -(-whole // self.workers))
        starts = range(first * self.batch_size, images, self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        together = 1 if self.augmentation is None else self.augmentation.shared_crops
        leader = dict(zip(order.tolist(), np.repeat(order[::together], together).tolist()))  # of consecutive images
        shares = [batch[self.rank :: self.ranks] for batch in batches]
        chunks = (share[start : start + size].tolist() for share in shares for start in range(0, len(share), size))
        ahead = _AHEAD * -(-whole // size)

        def prepare(chunk: list[int]) -> Chunk:
            return self.prepare(chunk, [leader[index] for index in chunk], epoch=epoch)

        prepared = in_threads(prepare, chunks, workers=self.workers, ahead=ahead)
        skipped = 0
        with closing(prepared):  # ends the threads even if the consumer stops early
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
        """Return at most `images` random images [N, 3, S, S], augmented as in the first epoch, without mixup.

        The iteration does not change, and every rank gets the same images.

        Raises:
            UserError: No image is readable, or more are unreadable than the limit allows.
        """
        order = np.random.default_rng([self.seed, 0]).permutation(len(self.dataset))[:images].tolist()
        chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        with closing(in_threads(partial(self.prepare, epoch=0), chunks, workers=self.workers)) as prepared:
            parts = list(prepared)
        for message in (message for part in parts for message in part.unreadable.values()):
            self.unreadable.add(message)
        if not any(len(part.label) for part in parts):
            raise UserError(f"all of {len(order)} random {self.dataset.split} images are unreadable; check the files")
        image = self._images_of(parts)
        return image if self.on_device else _tensor(image)

    def prepare(self, indices: list[int], leaders: Optional[list[int]] = None, *, epoch: int) -> Chunk:
        """Return images by index, cropped and augmented; also normalized unless `on_device`.

        Args:
            leaders: For each image the index whose crop and flip it shares; by default its own.
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
            if unreadable:  # the other images keep their numbers
                readable = [n for n, index in enumerate(indices) if index not in unreadable]
                draws = Draws(*(numbers[readable] for numbers in draws))
            image, changes = augment(patches, draws, config, self.preprocess, self.statistics, epoch=epoch)
        if not self.on_device:
            image, changes = finish(image, changes, self.preprocess), PixelChanges()
        label = self.dataset.labels[[i for i in indices if i not in unreadable]]
        return Chunk(image, label, changes, unreadable)

    def collate(self, chunks: list[Chunk], *, epoch: int, step: int) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Return a batch from its chunks."""
        image, label = self._images_of(chunks), np.concatenate([chunk.label for chunk in chunks])
        if self.augmentation and self.augmentation.mixup:
            rng = np.random.default_rng([self.seed, epoch, step, 1 + self.rank])
            classes = len(self.dataset.table.classes)
            image, label = mixup(image, label, classes, rng, alpha=self.augmentation.mixup)
        if self.crops > 1:
            image = image.reshape([-1, *image.shape[2:]])
        return image if self.on_device else _tensor(image), paddle.to_tensor(label)

    def _images_of(self, chunks: list[Chunk]) -> Any:
        """Return the finished images of all chunks: a tensor if `on_device`, else an array."""
        image = np.concatenate([chunk.image for chunk in chunks])
        if not self.on_device:
            return image
        each = zip(*(chunk.changes for chunk in chunks))
        changes = PixelChanges(*(None if parts[0] is None else np.concatenate(parts) for parts in each))
        return finish(image, changes, self.preprocess, paddle.to_tensor)

    def _filled(
        self, batch: Optional[tuple[paddle.Tensor, paddle.Tensor]], size: int
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Return a rank's share of a batch, padded to `size`; only padding without a batch."""
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
    """Return a tensor on the current device; on the CPU it shares the array's memory, which `to_tensor` would copy."""
    if paddle.device.get_device() != "cpu":
        return paddle.to_tensor(array)
    return paddle.Tensor(
        value=array, place=paddle.CPUPlace(), persistable=False, zero_copy=True, name="", stop_gradient=True
    )
