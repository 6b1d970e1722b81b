"""Dividing pictures into train, val and test, so that each stays where it is when others come or go."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Optional

import numpy as np

from paddle_alexnet.system.errors import UserError

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "test": "test"}  # by what people call them
SPLIT_NAMES.update(training="train", valid="val", validation="val", testing="test")
DEFAULT_SPLIT = (70.0, 10.0, 20.0)


def parse_split(text: str) -> tuple[float, ...]:
    """Percentages from text such as `70,10,20`. Raises UserError for anything else."""
    try:
        split = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"split {text}: not numbers; give three percentages such as 70,10,20") from None
    check_split(split)
    return split


def check_split(split: Sequence[float]) -> None:
    """Raises UserError unless these are the percentages of train, val and test."""
    if len(split) != 3 or not all(share >= 0 for share in split) or not math.isclose(sum(split), 100):
        shown = ",".join(f"{share:g}" for share in split)
        raise UserError(f"split {shown}: give train,val,test as three percentages of 0 or more, 100 in all")


def split_sizes(
    count: int, *, among: Sequence[str] = SPLITS, proportions: Sequence[float] = DEFAULT_SPLIT
) -> dict[str, int]:
    """How many of `count` go to each split of `among`, in the proportions of SPLITS.

    Sizes are rounded so that they add up. A split that was given a share gets one at least; where there are too few
    for that, the first splits get them.
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
    """The splits that the images of one may go to, where the source as a whole has those of `asked`.

    A source with a single split has none; one without val or test gets it from its train or val.
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
    """A split for each picture of (label, group); the pictures of a group get the same one.

    The groups of a class are ranked by the SHA-256 of the seed and their name, and the ranking is cut in the
    proportions. So one group more moves no others but those at the two cuts, and one class more moves none. A group
    of several classes counts as one of that which most of its pictures have.
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
