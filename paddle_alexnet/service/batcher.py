"""Micro-batching: images of many requests are computed together, by one thread."""

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
    """Computes images as they come, as many together as have come while the last batch was computed.

    `compute` takes images, uint8 [N, S, S, 3], and gives a row for each; it runs in a thread of its own, as does what
    is given to `run`, one at a time. `observe` is told how many images each batch had.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], np.ndarray],
        limits: Limits,
        *,
        observe: Callable[[int], None] = lambda images: None,
    ) -> None:
        self.inside = 0  # images that are in the service
        self._compute, self._limits, self._observe = compute, limits, observe
        self._pending: deque[tuple[np.ndarray, asyncio.Future[np.ndarray]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._arrived: Optional[asyncio.Event] = None
        self._task: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self._arrived = asyncio.Event()  # here, for in Python 3.9 it belongs to the loop in which it is made
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End the work; what has not been computed is not answered."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    @contextmanager
    def room(self, images: int) -> Iterator[None]:
        """Count images as being in the service. Raises Refused with 429 where there is no room for so many."""
        if self.inside + images > self._limits.waiting:
            raise Refused(429, f"{self.inside} images are waiting, at most {self._limits.waiting} may: try again")
        self.inside += images
        try:
            yield
        finally:
            self.inside -= images

    async def __call__(self, image: np.ndarray) -> np.ndarray:
        """The row for an image, uint8 [S, S, 3]. Raises what `compute` raises."""
        assert self._arrived is not None, "not started"
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._pending.append((image, answer))
        self._arrived.set()
        return await answer

    async def run(self, job: Callable[[], Result]) -> Result:
        """What a job gives, run in the thread that computes."""
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
        """The images that have waited longest; those that nobody waits for any more are left out."""
        self._pending = deque(waiting for waiting in self._pending if not waiting[1].done())
        count = whole_batch(min(len(self._pending), self._limits.batch_size))
        return [self._pending.popleft() for _ in range(count)]


def whole_batch(images: int) -> int:
    """Of so many images, how many to compute together: a multiple of 8, or else a power of two.

    For each size of batch that it has seen an engine keeps memory of its own: with few sizes it soon needs no more.
    """
    return images // 8 * 8 if images >= 8 else 1 << images.bit_length() >> 1
