"""Micro-batching of images from many requests."""

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Callable, Optional, TypeVar

import numpy as np

from paddle_alexnet.service.limits import Limits, Refused

Result = TypeVar("Result")


class Batcher:
    """A batcher that computes together the images that arrived during the last batch.

    Args:
        compute: Function from images, uint8 [N, S, S, 3], to one row each; runs in the batcher's only thread.
        observe: Called with the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], np.ndarray],
        limits: Limits,
        *,
        observe: Callable[[int], None] = lambda images: None,
    ) -> None:
        self.inside = 0  # images in the service
        self._compute, self._limits, self._observe = compute, limits, observe
        self._pending: deque[tuple[np.ndarray, asyncio.Future[np.ndarray]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._arrived: Optional[asyncio.Event] = None
        self._task: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        """Start computing."""
        self._arrived = asyncio.Event()  # must be made in the running loop (Python 3.9)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop computing, and leave waiting images without a result."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    @contextmanager
    def room(self, images: int) -> Iterator[None]:
        """Count images as in the service inside the `with` block. Raise Refused (429) if the service is full."""
        if self.inside + images > self._limits.waiting:
            raise Refused(429, f"{self.inside} of at most {self._limits.waiting} images are waiting; try again")
        self.inside += images
        try:
            yield
        finally:
            self.inside -= images

    async def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the row of an image, uint8 [S, S, 3], or raise the exception of `compute`."""
        assert self._arrived is not None, "not started"
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._pending.append((image, answer))
        self._arrived.set()
        return await answer

    async def run(self, job: Callable[[], Result]) -> Result:
        """Return the result of a job that runs in the computing thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def _work(self) -> None:
        assert self._arrived is not None
        while True:
            await self._arrived.wait()
            if len(self._pending) < self._limits.batch_size:
                await asyncio.sleep(self._limits.gather)
            batch = self._next_batch()
            if not self._pending:
                self._arrived.clear()
            if not batch:
                continue
            self._observe(len(batch))
            images = np.stack([image for image, _ in batch])
            try:
                rows = await self.run(lambda images=images: self._compute(images))  # type: ignore[misc]
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), row in zip(batch, rows):
                    if not answer.done():
                        answer.set_result(row)

    def _next_batch(self) -> list[tuple[np.ndarray, "asyncio.Future[np.ndarray]"]]:
        """Return the images that have waited longest, without canceled ones."""
        self._pending = deque(waiting for waiting in self._pending if not waiting[1].done())
        count = whole_batch(min(len(self._pending), self._limits.batch_size))
        return [self._pending.popleft() for _ in range(count)]


def whole_batch(images: int) -> int:
    """Return the largest batch size of at most `images`: a multiple of 8, or a power of two below 8.

    An engine keeps memory for each batch size that it has computed, so few sizes need less memory.
    """
    return images // 8 * 8 if images >= 8 else 1 << images.bit_length() >> 1
