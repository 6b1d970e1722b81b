"""Progress of long work: a bar in a terminal, a few plain lines elsewhere, nothing if the log is quiet."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Optional, TextIO, TypeVar

Item = TypeVar("Item")
SOON, EVERY = 2.0, 30.0  # seconds before the first line without a terminal, and between later lines


def quiet() -> bool:
    """Return whether the logger `paddle_alexnet` is set to show warnings only."""
    return logging.getLogger("paddle_alexnet").level > logging.INFO


def progress(items: Iterable[Item], *, what: str, total: Optional[int], unit: str = "image") -> Iterator[Item]:
    """Yield the items behind a progress bar.

    If stderr is no terminal, print plain lines: at each quarter if the total is known, and every 30 seconds.
    """
    if quiet():
        yield from items
        return
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, unit=unit, leave=False)
        return
    step, last = 1000 if total is None else max(1, -(-total // 4)), time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total or time.monotonic() - last > EVERY:
            print(f"{what}: {done}" + f"/{total}" * (total is not None), file=sys.stderr)
            last = time.monotonic()


@contextmanager
def working(what: str, *, after: Optional[float] = None) -> Iterator[None]:
    """Count the seconds of one step in a terminal line, or in plain lines after `after` (default `SOON`) seconds."""
    if quiet():
        yield
        return
    done, terminal = Event(), sys.stderr.isatty()
    if terminal:
        print(f"{what} …", end="", file=sys.stderr, flush=True)
    show = Thread(target=_tell, args=(what, done, 1.0 if terminal else after or SOON, sys.stderr), daemon=True)
    show.start()
    try:
        yield
    finally:
        done.set()
        show.join()
        if terminal:
            print(f"\r{' ' * (len(what) + 10)}\r", end="", file=sys.stderr, flush=True)


def _tell(what: str, done: Event, wait: float, stream: TextIO) -> None:
    """Print the elapsed time until `done`: first after `wait` seconds, then every second in a terminal."""
    started, terminal = time.monotonic(), stream.isatty()
    while not done.wait(wait):
        line = f"{what} … {time.monotonic() - started:.0f} s"
        print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=stream, flush=True)
        wait = 1.0 if terminal else EVERY
