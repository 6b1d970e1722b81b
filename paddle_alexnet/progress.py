"""Progress of long work: a bar in a terminal, a few plain lines elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import Optional, TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], *, what: str, total: Optional[int], unit: str = "image") -> Iterator[Item]:
    """Yield the items behind a progress bar; plain lines when stderr is no terminal, four where the total is known."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, unit=unit, leave=False)
        return
    step = 1000 if total is None else max(1, -(-total // 4))
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            print(f"{what}: {done}" + f"/{total}" * (total is not None), file=sys.stderr)
