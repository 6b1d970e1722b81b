"""Batches for `paddle.Model`: images decoded by threads, a few batches ahead.

Threads, not the worker processes of `paddle.io.DataLoader`: Pillow and NumPy release the
interpreter lock, so they run in parallel; an error keeps its type and reaches the caller (with
`num_workers=0` Paddle's loader hangs for ever when `__getitem__` raises); and no shared memory is
needed.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import paddle

from paddle_alexnet.data.dataset import LabelledImages
from paddle_alexnet.data.transforms import Preprocess

_AHEAD = 2  # batches


class Loader:
    """Iterate over batches (image [N, 3, S, S] float32, label [N] int64), each sample once.

    The last batch holds what is left. With `shuffle`, the order follows from the seed and from
    how often the loader has been iterated, so each epoch has its own and a run can be repeated.
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
    ) -> None:
        self.dataset, self.preprocess = dataset, preprocess
        self.batch_size, self.shuffle, self.seed, self.workers = batch_size, shuffle, seed, workers
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, paddle.Tensor]]:
        images = len(self.dataset)
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(images) if self.shuffle else np.arange(images)
        self.epoch += 1
        ahead: deque[list[Future]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                ahead.append([pool.submit(self.dataset.__getitem__, int(i)) for i in batch])
                if len(ahead) > _AHEAD:
                    yield self._collate(ahead.popleft())
            while ahead:
                yield self._collate(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _collate(self, samples: list[Future]) -> tuple[paddle.Tensor, paddle.Tensor]:
        images, labels = zip(*(sample.result() for sample in samples))
        return paddle.to_tensor(self.preprocess.batch(np.stack(images))), paddle.to_tensor(np.stack(labels))
