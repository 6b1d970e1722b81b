"""OpenCV's bilinear resize, as used by PaddleClas and Caffe, in NumPy."""

import numpy as np

_SCALE = np.float32(1 << 11)  # weights are integers of 11 bits


def resize(levels: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """Return a window of the resized image, bit-identical to `cv2.resize` with its default INTER_LINEAR.

    Unlike Pillow, it averages only the four nearest pixels, without antialiasing.
    Source: modules/imgproc/src/resize.cpp, the same in OpenCV 4.6 and 5.0.

    Args:
        levels: uint8 [H, W, C].
        size: Width and height of the resized image.
        window: Left, top, right and bottom of the part to return.
    """
    (height, width), (wide, high), (left, top, right, bottom) = levels.shape[:2], size, window
    if (width, height) == (wide, high):
        return levels[top:bottom, left:right].copy()
    if (width, height) == (2 * wide, 2 * high):  # OpenCV uses INTER_AREA for an exact half
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
    """Return the two source pixels of each resized pixel from `first` to `end` of a side, and their weights."""
    scale = 1 / (target / length)  # in this order: its rounding is OpenCV's
    at = ((np.arange(first, end) + 0.5) * scale - 0.5).astype(np.float32)
    low = np.floor(at)
    share = at - low
    weights = np.rint(np.stack([1 - share, share]) * _SCALE).astype(np.int32)
    low = low.astype(np.intp)
    return low.clip(0, length - 1), (low + 1).clip(0, length - 1), weights
