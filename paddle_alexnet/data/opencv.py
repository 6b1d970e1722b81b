"""OpenCV's bilinear resize, whose pixels PaddleClas and Caffe give their networks, in NumPy."""

import numpy as np

_SCALE = np.float32(1 << 11)  # weights are whole numbers of 11 bits


def resize(levels: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """Return a window of an image that was resized as `cv2.resize` does by default (INTER_LINEAR), bit-identical.

    However much it reduces, a pixel is made of the four nearest ones: there is no antialiasing, unlike in Pillow.
    Source: modules/imgproc/src/resize.cpp, the same in OpenCV 4.6 and 5.0.

    Args:
        levels: uint8 [H, W, C].
        size: width and height of the resized image.
        window: left, top, right and bottom of the part of it that is returned.
    """
    (height, width), (wide, high), (left, top, right, bottom) = levels.shape[:2], size, window
    if (width, height) == (wide, high):
        return levels[top:bottom, left:right].copy()
    if (width, height) == (2 * wide, 2 * high):  # OpenCV takes INTER_AREA for an exact half
        four = levels[2 * top : 2 * bottom, 2 * left : 2 * right].astype(np.int32)
        sums = four[::2, ::2] + four[::2, 1::2] + four[1::2, ::2] + four[1::2, 1::2]
        return ((sums + 2) >> 2).astype(np.uint8)
    up, down, row_weights = _taps(height, high, top, bottom)
    before, after, weights = _taps(width, wide, left, right)

    def across(rows: np.ndarray) -> np.ndarray:
        taken = levels[rows]
        return (taken[:, before] * weights[0][:, None] + taken[:, after] * weights[1][:, None]) >> 4

    upper, lower = (row_weights[i][:, None, None] * across(rows) >> 16 for i, rows in enumerate((up, down)))
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _taps(length: int, target: int, first: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two pixels of a side that make each pixel from `first` to `end` of the resized side, and their weights."""
    scale = 1 / (target / length)  # in this order: its rounding is OpenCV's
    at = ((np.arange(first, end) + 0.5) * scale - 0.5).astype(np.float32)
    low = np.floor(at)
    share = at - low
    weights = np.rint(np.stack([1 - share, share]) * _SCALE).astype(np.int32)
    low = low.astype(np.intp)
    return low.clip(0, length - 1), (low + 1).clip(0, length - 1), weights
