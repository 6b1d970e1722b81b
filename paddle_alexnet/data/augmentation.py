"""What chance does to a training image: vectorised over the batch, and the same whoever computes it and when.

Every number drawn for an image follows from the seed, the epoch and the image's index, and from nothing else: not from
the order, the batch, the number of workers or the other changes that are switched on.
"""

import math
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from PIL import Image

from paddle_alexnet.config import DataConfig
from paddle_alexnet.data.cache import Indices
from paddle_alexnet.data.preprocess import Box
from paddle_alexnet.data.statistics import Statistics

# Columns of the uniform numbers of an image.
_PLACE, _MIRROR, _JITTER, _ERASE, _PART = slice(0, 2), 2, slice(3, 6), slice(6, 11), slice(11, 33)
_ATTEMPTS = 10  # at a random part that fits into the image
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow


@dataclass(frozen=True)
class Draws:
    """Chance for n images: `uniform` [n, 33] of 0..1 and `normal` [n, 3]."""

    uniform: np.ndarray
    normal: np.ndarray


@dataclass(frozen=True)
class Colours:
    """What happens to the colours of n images after they are cropped; None for what does not.

    `matrix` [n, 3, 3] and `shift` [n, 3, 1] act on levels of 0..255, `noise` [n, 3, 1, 1] on the network's input, which
    is multiplied by `keep` [n, 1, S, S] last. Each is a NumPy array or, for the device, a Paddle tensor.
    """

    matrix: Any = None
    shift: Any = None
    noise: Any = None
    keep: Any = None


def draw(indices: Indices, *, seed: int, epoch: int) -> Draws:
    """Chance for the images of a batch, by their index in the data set."""
    uniform, normal = np.empty((len(indices), 33)), np.empty((len(indices), 3))
    for i, index in enumerate(indices):
        rng = np.random.default_rng([seed, epoch, index])
        rng.random(out=uniform[i])
        rng.standard_normal(out=normal[i])
    return Draws(uniform, normal)


def random_part(width: int, height: int, uniform: np.ndarray) -> Box:
    """A part of 8 to 100 % of the area and of 3:4 to 4:3, anywhere, from a row of `Draws.uniform`.

    The RandomResizedCrop of torchvision and `paddle.vision`: the first of ten attempts that fits, else the largest part
    in the middle.
    """
    area, shape = uniform[_PART][:_ATTEMPTS], uniform[_PART][_ATTEMPTS : 2 * _ATTEMPTS]
    pixels = width * height * (0.08 + 0.92 * area)
    ratio = np.exp(math.log(4 / 3) * (2 * shape - 1))
    across, down = np.round(np.sqrt(pixels * ratio)), np.round(np.sqrt(pixels / ratio))
    fits = (across >= 1) & (across <= width) & (down >= 1) & (down <= height)
    if fits.any():
        part, (x, y) = int(fits.argmax()), uniform[_PART][-2:]
        left, top = int(x * (width - across[part] + 1)), int(y * (height - down[part] + 1))
        return (left, top, left + across[part], top + down[part])
    across_, down_ = min(width, height * 4 / 3), min(height, width * 4 / 3)
    left_, top_ = (width - across_) / 2, (height - down_) / 2
    return (left_, top_, left_ + across_, top_ + down_)


def resize_parts(patches: np.ndarray, size: int, draws: Draws) -> np.ndarray:
    """A random part of each patch, uint8 [n, 3, P, P] to [n, 3, size, size]."""
    parts = np.empty((len(patches), 3, size, size), np.uint8)
    for i, patch in enumerate(patches):
        box = random_part(patch.shape[2], patch.shape[1], draws.uniform[i])
        for channel in range(3):
            plane = Image.fromarray(patch[channel])
            parts[i, channel] = np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return parts


def random_crops(patches: np.ndarray, size: int, draws: Draws) -> np.ndarray:
    """A random S×S window of each patch, uint8 [n, 3, P, P] to [n, 3, S, S] (section 4.1 of the paper)."""
    free = patches.shape[-1] - size + 1
    return crop(patches, size, (draws.uniform[:, _PLACE] * free).astype(int))


def crop(patches: np.ndarray, size: int, corners: np.ndarray) -> np.ndarray:
    """The S×S window of each patch at its (top, left) corner [n, 2]."""
    rows = np.lib.stride_tricks.sliding_window_view(patches, size, axis=2)  # [n, 3, P - S + 1, P, S]
    windows = np.lib.stride_tricks.sliding_window_view(rows, size, axis=3)  # [n, 3, P - S + 1, P - S + 1, S, S]
    return windows[np.arange(len(patches)), :, corners[:, 0], corners[:, 1]]


def mirror(planes: np.ndarray, draws: Draws) -> None:
    """Flip every second image, left to right, in place."""
    flipped = draws.uniform[:, _MIRROR] < 0.5
    planes[flipped] = planes[flipped][..., ::-1]


def ten_crops(patches: np.ndarray, size: int) -> np.ndarray:
    """The corners, the centre and their mirror images, uint8 [n, 3, P, P] to [n, 10, 3, S, S] (section 4.1)."""
    end = patches.shape[-1] - size
    corners = [(0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2)]
    five = np.stack([patches[..., top : top + size, left : left + size] for top, left in corners], axis=1)
    return np.concatenate([five, five[..., ::-1]], axis=1)


def colours(
    planes: np.ndarray, draws: Draws, config: DataConfig, statistics: Optional[Statistics], scale: np.ndarray
) -> Colours:
    """Jitter, noise and erasing for uint8 images [n, 3, S, S]; `scale` [3, 1, 1] is `Preprocess.scale`."""
    matrix = shift = noise = keep = None
    if config.colour_jitter:
        matrix, shift = jitter(planes, 1 + config.colour_jitter * (2 * draws.uniform[:, _JITTER] - 1))
    if config.pca_noise and statistics:
        levels = pca_noise(statistics, config.pca_noise * draws.normal, deviations=config.pca_scale == "deviations")
        noise = (levels[:, :, None, None] * scale).astype(np.float32)
    if config.erasing:
        keep = rectangles(planes.shape[-1], draws.uniform[:, _ERASE], config.erasing)
    return Colours(matrix, shift, noise, keep)


def jitter(planes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, contrast and saturation times `factors` [n, 3], as one matrix [n, 3, 3] and shift [n, 3, 1].

    In this order: levels times the first; their distance to the image's mean grey times the second; their distance to
    the pixel's grey times the third. Levels are to be clipped once, after the three.
    """
    brightness, contrast, saturation = factors.astype(np.float32).T[:, :, None, None]
    grey = np.broadcast_to(_GREY, (3, 3))
    matrix = brightness * contrast * (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey)
    mean_grey = planes.mean(axis=(2, 3), dtype=np.float32) @ _GREY
    shift = (brightness * (1 - contrast))[:, :, 0] * mean_grey[:, None]
    return matrix, np.repeat(shift[:, :, None], 3, axis=1)


def pca_noise(statistics: Statistics, alpha: np.ndarray, *, deviations: bool) -> np.ndarray:
    """What is added to every pixel of an image, [n, 3] levels, for its α [n, 3] (section 4.1 of the paper).

    α multiplies the eigenvalues of the covariance of values in 0..1, or the roots of them, the deviations.
    """
    values = statistics.eigenvalues / 255**2
    return 255 * (alpha * (np.sqrt(values) if deviations else values)) @ statistics.eigenvectors.T


def rectangles(size: int, uniform: np.ndarray, probability: float) -> np.ndarray:
    """Random erasing: float32 [n, 1, S, S], 0 in the rectangle that is erased and 1 elsewhere.

    Of 2 to 33 % of the area and 3:10 to 10:3, cut off where it is longer than the image (Zhong et al. 2017).
    """
    chosen, area, shape, x, y = uniform.T[:, :, None]
    area, ratio = 0.02 + 0.31 * area, np.exp(math.log(10 / 3) * (2 * shape - 1))
    sides = np.minimum(size, np.round(size * np.sqrt([area * ratio, area / ratio])))
    ends = np.floor(np.stack([x, y]) * (size - sides + 1))
    at = np.arange(size)
    across, down = (at >= ends) & (at < ends + sides) & (chosen < probability)
    return (~(down[:, :, None] & across[:, None, :])).astype(np.float32)[:, None]


def finish(planes: Any, scale: Any, offset: Any, changes: Colours) -> Any:
    """The network's input, float32 [n, 3, S, S], from uint8 images of this shape: arrays or Paddle tensors alike."""
    values = planes.astype("float32")
    if changes.matrix is not None:
        shape = list(values.shape)
        values = (changes.matrix @ values.reshape([shape[0], 3, -1]) + changes.shift).clip(0, 255).reshape(shape)
    values *= scale
    values += offset
    if changes.noise is not None:
        values += changes.noise
    if changes.keep is not None:
        values *= changes.keep
    return values


def mixup(image: Any, label: np.ndarray, classes: int, rng: np.random.Generator, *, alpha: float) -> tuple[Any, Any]:
    """Blend each image of a batch with that at the other end; labels [N] become shares [N, C] float32.

    One share for the whole batch, from the Beta(α, α) distribution (Zhang et al. 2017).
    """
    share = float(rng.beta(alpha, alpha))
    labels = np.eye(classes, dtype=np.float32)[label]
    return image * share + image[::-1] * (1 - share), labels * share + labels[::-1] * (1 - share)
