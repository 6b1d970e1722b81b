"""The same picture twice, though its bytes differ: in two splits, or under two labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from paddle_alexnet.system.progress import progress

THUMBNAIL = 16  # pixels a side

# Measured on 1,000 photographs. The correlation of two gray thumbnails is above 0.97 for 99 % and more of copies that
# were made half or a third as large, squashed, saved with a JPEG quality of 20, mirrored, made gray or half as bright,
# for 99 % of those with a border of 5 % a side and all of those cut by 5 % a side, where the center of the one is
# compared with the whole of the other. Of different photographs the highest is 0.957. Drawings of the same lines in
# other colors are above it too: their colors correlate by less than 0.8, those of 99 % of the copies by more.
_LEAST_CORRELATION = 0.97
_LEAST_CORRELATION_OF_COLORS = 0.8
_LEAST_CONTRAST = 3.0  # standard deviation in levels of 0..255; below it there is no picture to compare
_LEAST_COLOR = 8.0  # root mean square of R, G, B less their mean, in levels; below it there is no color to compare
_BLOCK = 2048  # pictures compared with as many at a time, 17 MB of float32
_PAIRS = 1 << 15  # pairs whose colors are compared at a time, 200 MB
MOST_WITHIN_SPLIT = 50_000  # the time grows with the square: for these it is about that of reading them


class Copies(NamedTuple):
    """For each picture the index of the same one in a later split, and of one with another label: int64 [N], or -1."""

    in_later_split: np.ndarray
    other_label: np.ndarray


class _Pictures(NamedTuple):
    """Thumbnails of all pictures whose contrast suffices, float32."""

    number: np.ndarray  # [n] among all pictures
    whole: np.ndarray  # [n, pixels] gray, of mean 0 and length 1
    center: np.ndarray  # [n, pixels]
    colors: np.ndarray  # [n, 2, pixels * 3] of the whole and the center, R, G, B less their mean


def find_copies(
    *, thumbnails: Sequence[bytes], centers: Sequence[bytes], splits: np.ndarray, labels: np.ndarray
) -> Copies:
    """Compare all pictures of a data set; those of one split only where they are no more than MOST_WITHIN_SPLIT.

    A thumbnail is 16×16×3 bytes of the whole picture, a center of all but 5 % at each side; `splits` and `labels` are
    int [N]. A mirrored picture is the same one.
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
            for other, b in blocks[number:]  # of the same split or a later one
            if split != other or split not in large
        ]
        for a, b in progress(pairs, what="compare", total=len(pairs), unit="block") if len(pairs) > 20 else pairs:
            _compare(pictures, a, b, copies, splits=splits, labels=labels)
    return copies


def _compare(
    pictures: _Pictures, a: np.ndarray, b: np.ndarray, copies: Copies, *, splits: np.ndarray, labels: np.ndarray
) -> None:
    """Note the pairs of two blocks that are alike; `b` is of the same split or a later one."""
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
    """Note those of some pairs with the same gray thumbnails that tell something new and have the same colors."""
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
    """Whether the colors of pairs [pairs, pixels * 3] agree, or one of the two has none: bool [pairs]."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    without = np.minimum(*lengths) < _LEAST_COLOR * np.sqrt(a.shape[1])
    agree = np.einsum("ij,ij->i", a, b) >= _LEAST_CORRELATION_OF_COLORS * lengths[0] * lengths[1]
    return without | agree


def _mirror(thumbnails: np.ndarray, channels: int) -> np.ndarray:
    """Thumbnails [n, pixels * channels] with left and right exchanged."""
    squares = thumbnails.reshape(len(thumbnails), THUMBNAIL, THUMBNAIL, channels)
    return squares[:, :, ::-1].reshape(thumbnails.shape)


def _pixels(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Float32 [n, pixels, 3]."""
    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(thumbnails), -1, 3).astype(np.float32)
