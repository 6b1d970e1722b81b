"""Stable train, val and test splits: an image keeps its split when other images are added or removed."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Optional

import numpy as np

from paddle_alexnet.system.errors import UserError

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "test": "test"}  # by their usual names
SPLIT_NAMES.update(training="train", valid="val", validation="val", testing="test")
DEFAULT_SPLIT = (70.0, 10.0, 20.0)


def parse_split(text: str) -> tuple[float, ...]:
    """Return the percentages in text such as `70,10,20`. Raises UserError for other text."""
    try:
        split = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"split {text}: must have numbers; use three percentages such as 70,10,20") from None
    check_split(split)
    return split


def check_split(split: Sequence[float]) -> None:
    """Raise UserError unless `split` holds the percentages of train, val and test."""
    if len(split) != 3 or not all(share >= 0 for share in split) or not math.isclose(sum(split), 100):
        shown = ",".join(f"{share:g}" for share in split)
        raise UserError(f"split {shown}: must have three percentages that sum to 100; give train,val,test")


def split_sizes(
    count: int, *, among: Sequence[str] = SPLITS, proportions: Sequence[float] = DEFAULT_SPLIT
) -> dict[str, int]:
    """Divide `count` among the splits of `among` by the `proportions` of SPLITS.

    A split with a share gets at least one; if `count` is too small, the first splits do.
    """
    shares = {name: share for name, share in zip(SPLITS, proportions) if name in among and share > 0}
    shares = shares or {among[0]: 1.0}
    exact = count * np.array(list(shares.values())) / sum(shares.values())
    sizes = np.floor(exact + 1e-9).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - sizes.sum()]] += 1
    for i in range(min(count, len(sizes))):
        if sizes[i] == 0:
            largest = len(sizes) - 1 - np.argmax(sizes[::-1])
            sizes[i] += 1
            sizes[largest] -= 1
    return dict(zip(shares, sizes.tolist()))


def open_to(split: Optional[str], asked: Iterable[Optional[str]]) -> tuple[str, ...]:
    """Return the splits among which to divide the images of `split`, if the whole source has the splits `asked`.

    A single split is divided into all three. A missing val is taken from train, a missing test from val.
    """
    if split is None or set(asked) == {split}:
        return SPLITS
    if split == "train" and "val" not in asked:
        return ("train", "val")
    if split == "val" and "test" not in asked:
        return ("val", "test")
    return (split,)


def draw_splits(
    pictures: Sequence[tuple[str, str]],
    *,
    among: Sequence[str] = SPLITS,
    proportions: Sequence[float] = DEFAULT_SPLIT,
    seed: int,
) -> list[str]:
    """Return a split for each image, given as (label, group); a group stays together.

    The groups of a class are ranked by the SHA-256 of seed and name, and the ranking is cut in the proportions: a new
    group moves only groups at the two cuts, a new class none. A group of several classes counts for its most frequent.
    """
    homes: dict[str, str] = {}
    for (label, group), _ in sorted(Counter(pictures).items(), key=lambda item: (-item[1], item[0])):
        homes.setdefault(group, label)
    groups: dict[str, list[str]] = {}
    for group, label in homes.items():
        groups.setdefault(label, []).append(group)
    split_of: dict[str, str] = {}
    for of_class in groups.values():
        ranked = sorted(of_class, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
        sizes = split_sizes(len(ranked), among=among, proportions=proportions)
        split_of.update(zip(ranked, (name for name, size in sizes.items() for _ in range(size))))
    return [split_of[group] for _, group in pictures]
