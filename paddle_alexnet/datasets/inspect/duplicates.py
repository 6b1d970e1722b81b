"""Near-duplicate images of different bytes, in two splits or under two labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from paddle_alexnet.system.progress import progress

THUMBNAIL = 16  # pixels a side

# Measured on 1,000 images: the correlation of gray thumbnails is above 0.97 for at least 99 % of the copies that were
# resized to a half or a third, squashed, saved with a JPEG quality of 20, mirrored, converted to gray, halved in
# brightness, or given a border of 5 % per side, and for all that were cropped by 5 % per side (the center of one
# against the whole other). Different images reach 0.957. Drawings of the same lines in other colors exceed 0.97, but
# their colors correlate by less than 0.8; the colors of 99 % of the copies by more.
_LEAST_CORRELATION = 0.97
_LEAST_CORRELATION_OF_COLORS = 0.8
_LEAST_CONTRAST = 3.0  # standard deviation in levels of 0..255 below which images are not compared
_LEAST_COLOR = 8.0  # root mean square of R, G, B minus their mean, in levels, below which colors are not compared
_BLOCK = 2048  # images compared with as many at a time, 17 MB of float32
_PAIRS = 1 << 15  # pairs whose colors are compared at a time, 200 MB
MOST_WITHIN_SPLIT = 50_000  # images; beyond them the quadratic comparison takes longer than reading


class Copies(NamedTuple):
    """The index of a near-duplicate of each image, int64 [N], or -1."""

    in_later_split: np.ndarray
    other_label: np.ndarray


class _Pictures(NamedTuple):
    """Thumbnails of all images with enough contrast, float32."""

    number: np.ndarray  # [n], index among all images
    whole: np.ndarray  # [n, pixels], gray, of mean 0 and length 1
    center: np.ndarray  # [n, pixels]
    colors: np.ndarray  # [n, 2, pixels * 3], R, G, B minus their mean, of whole and center


def find_copies(
    *, thumbnails: Sequence[bytes], centers: Sequence[bytes], splits: np.ndarray, labels: np.ndarray
) -> Copies:
    """Find near-duplicates in a data set, also mirrored; within a split only up to MOST_WITHIN_SPLIT images.

    Args:
        thumbnails: 16×16×3 bytes of each image.
        centers: The same of each image without 5 % at each side.
        splits: Integers [N].
        labels: Integers [N].
    """
    copies = Copies(np.full(len(splits), -1), np.full(len(splits), -1))
    if len(splits):
        pictures = _prepare(thumbnails, centers)
        blocks, large = [], set()
        for split in np.unique(splits):
            of_split = np.flatnonzero(splits[pictures.number] == split)
            blocks += [(split, of_split[start : start + _BLOCK]) for start in range(0, len(of_split), _BLOCK)]
            if len(of_split) > MOST_WITHIN_SPLIT:
                large.add(split)
        pairs = [
            (a, b)
            for number, (split, a) in enumerate(blocks)
            for other, b in blocks[number:]  # in the same split or a later one
            if split != other or split not in large
        ]
        for a, b in progress(pairs, what="compare", total=len(pairs), unit="block") if len(pairs) > 20 else pairs:
            _compare(pictures, a, b, copies, splits=splits, labels=labels)
    return copies


def _compare(
    pictures: _Pictures, a: np.ndarray, b: np.ndarray, copies: Copies, *, splits: np.ndarray, labels: np.ndarray
) -> None:
    """Record the near-duplicates of two blocks; `b` is in the same split or a later one."""
    whole_a, whole_b = pictures.whole[a], pictures.whole[b]
    center_a, center_b = pictures.center[a], pictures.center[b]
    for one, other, views in ((whole_a, whole_b, (0, 0)), (whole_a, center_b, (0, 1)), (center_a, whole_b, (1, 0))):
        for mirrored in (False, True):
            second = _mirror(other, 1) if mirrored else other
            rows, columns = np.nonzero(one @ second.T >= _LEAST_CORRELATION)
            for start in range(0, len(rows), _PAIRS):
                pair = slice(start, start + _PAIRS)
                _note_pairs(pictures, a[rows[pair]], b[columns[pair]], views, mirrored, copies, splits, labels)


def _note_pairs(
    pictures: _Pictures,
    a: np.ndarray,
    b: np.ndarray,
    views: tuple[int, int],
    mirrored: bool,
    copies: Copies,
    splits: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Record the pairs that are new and have the same colors, among pairs with the same gray thumbnails."""
    first, later = pictures.number[a], pictures.number[b]
    leaks, disagree = splits[first] != splits[later], labels[first] != labels[later]
    new = leaks & (copies.in_later_split[first] < 0)
    new |= disagree & (np.minimum(copies.other_label[first], copies.other_label[later]) < 0)
    a, b, first, later, leaks, disagree = (part[new] for part in (a, b, first, later, leaks, disagree))
    colors = pictures.colors[b, views[1]]
    alike = _same_colors(pictures.colors[a, views[0]], _mirror(colors, 3) if mirrored else colors)
    copies.in_later_split[first[alike & leaks]] = later[alike & leaks]
    copies.other_label[first[alike & disagree]] = later[alike & disagree]
    copies.other_label[later[alike & disagree]] = first[alike & disagree]


def _prepare(thumbnails: Sequence[bytes], centers: Sequence[bytes]) -> _Pictures:
    numbers: list[np.ndarray] = []
    whole: list[np.ndarray] = []
    center: list[np.ndarray] = []
    colors: list[np.ndarray] = []
    for start in range(0, len(thumbnails), _BLOCK):
        views = [_pixels(some[start : start + _BLOCK]) for some in (thumbnails, centers)]
        grays = [view @ np.array([0.299, 0.587, 0.114], np.float32) for view in views]
        enough = np.flatnonzero(np.minimum(grays[0].std(axis=1), grays[1].std(axis=1)) >= _LEAST_CONTRAST)
        numbers.append(start + enough)
        for gray, units in zip(grays, (whole, center)):
            gray = gray[enough] - gray[enough].mean(axis=1, keepdims=True)
            units.append(gray / np.linalg.norm(gray, axis=1, keepdims=True))
        pairs = np.stack([view[enough] - view[enough].mean(axis=2, keepdims=True) for view in views], axis=1)
        colors.append(pairs.reshape(len(enough), 2, 3 * THUMBNAIL**2).astype(np.float16))
    return _Pictures(*(np.concatenate(parts) for parts in (numbers, whole, center, colors)))


def _same_colors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for pairs [pairs, pixels * 3] whether their colors agree or one has no color, bool [pairs]."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    without = np.minimum(*lengths) < _LEAST_COLOR * np.sqrt(a.shape[1])
    agree = np.einsum("ij,ij->i", a, b) >= _LEAST_CORRELATION_OF_COLORS * lengths[0] * lengths[1]
    return without | agree


def _mirror(thumbnails: np.ndarray, channels: int) -> np.ndarray:
    """Flip thumbnails [n, pixels * channels] horizontally."""
    squares = thumbnails.reshape(len(thumbnails), THUMBNAIL, THUMBNAIL, channels)
    return squares[:, :, ::-1].reshape(thumbnails.shape)


def _pixels(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Return float32 [n, pixels, 3]."""
    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(thumbnails), -1, 3).astype(np.float32)
