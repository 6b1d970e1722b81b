"""Ordered parallel work in threads with bounded read-ahead."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Optional, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: Optional[int] = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` in order, computed at most `ahead` items in advance (by default 4 per worker).

    Threads suffice, because Pillow and NumPy release the interpreter lock. They end with the iterator.
    """
    ahead = 4 * workers if ahead is None else ahead
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
