"""Random augmentation of training images, vectorized over a batch and deterministic in (seed, epoch, index).

Order, batch size, number of workers and the choice of augmentations do not change the numbers drawn for an image.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

import numpy as np

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.preprocess import Box, Part, Preprocess, whole_levels

if TYPE_CHECKING:
    from paddle_alexnet.data.statistics import Statistics

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as in Pillow


class Draws(NamedTuple):
    """Random numbers for n images, separate for each augmentation: uniform in 0..1, except `noise`, which is normal."""

    corner: np.ndarray  # [n, 2], top and left of a random crop
    flip: np.ndarray  # [n]
    jitter: np.ndarray  # [n, 3], brightness, contrast, saturation
    erasing: np.ndarray  # [n, 5], erase or not; the rectangle's area, aspect ratio, left and top
    part_area: np.ndarray  # [n, 10], one column per attempt
    part_shape: np.ndarray  # [n, 10]
    part_corner: np.ndarray  # [n, 2], left and top
    noise: np.ndarray  # [n, 3], along the principal components


class PixelChanges(NamedTuple):
    """Pixel operations for n cropped images, as arrays or tensors; None skips an operation."""

    matrix: Any = None  # [n, 3, 3], multiplies levels of 0..255
    shift: Any = None  # [n, 3, 1], is added to these levels
    mean: Any = None  # [n, 3, S, S], replaces the mean image, in levels
    noise: Any = None  # [n, 3, 1, 1], is added to the normalized image
    divisor: Any = None  # [n, 1, 1, 1], divides the sum
    keep: Any = None  # [n, 1, S, S], 0 for erased pixels, else 1


def draw(indices: Sequence[int], leaders: Optional[Sequence[int]] = None, *, seed: int, epoch: int) -> Draws:
    """Return random numbers for images by their index in the data set.

    Args:
        leaders: For each image the index whose crop and flip it shares; by default its own.
    """
    own = _draw(indices, seed, epoch)
    if leaders is None or list(leaders) == list(indices):
        return own
    shared = _draw(leaders, seed, epoch)._asdict()
    return own._replace(**{name: shared[name] for name in ("corner", "flip", "part_area", "part_shape", "part_corner")})


def _draw(indices: Sequence[int], seed: int, epoch: int) -> Draws:
    uniform, normal = np.empty((len(indices), 33)), np.empty((len(indices), 3))
    for i, index in enumerate(indices):
        rng = np.random.default_rng([seed, epoch, index])
        rng.random(out=uniform[i])
        rng.standard_normal(out=normal[i])
    corner, flip, jitter, erasing, area, shape, at = np.split(uniform, [2, 3, 6, 11, 21, 31], axis=1)
    return Draws(corner, flip[:, 0], jitter, erasing, area, shape, at, normal)


def random_parts(draws: Draws, *, least: float = 0.08) -> list[Part]:
    """Return a function from width and height to a random part (`random_part`) for each image."""
    numbers = zip(draws.part_area, draws.part_shape, draws.part_corner)
    return [partial(random_part, area=least + (1 - least) * a, shape=s, corner=corner) for a, s, corner in numbers]


def random_part(width: int, height: int, *, area: np.ndarray, shape: np.ndarray, corner: np.ndarray) -> Box:
    """Return a random part of an image, as RandomResizedCrop of torchvision and `paddle.vision` chooses it.

    The first attempt that fits wins, else the largest central part, in whole pixels. Both libraries crop before they
    resize; here the resize filter reaches about a pixel beyond the part.

    Args:
        area: Share of the image's area, [10], one per attempt.
        shape: Position in 0..1 of the aspect ratio between 3:4 and 4:3, [10].
        corner: Left and top in 0..1, [2].
    """
    pixels = width * height * area
    ratio = np.exp(math.log(4 / 3) * (2 * shape - 1))
    across, down = np.round(np.sqrt(pixels * ratio)), np.round(np.sqrt(pixels / ratio))
    fits = (across >= 1) & (across <= width) & (down >= 1) & (down <= height)
    if fits.any():
        first = int(fits.argmax())
        left, top = int(corner[0] * (width - across[first] + 1)), int(corner[1] * (height - down[first] + 1))
        return (left, top, left + across[first], top + down[first])
    across_, down_ = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left_, top_ = (width - across_) // 2, (height - down_) // 2
    return (left_, top_, left_ + across_, top_ + down_)


def augment(
    patches: np.ndarray,
    draws: Draws,
    config: DataConfig,
    preprocess: Preprocess,
    statistics: Optional["Statistics"],
    *,
    epoch: int = 0,
) -> tuple[np.ndarray, PixelChanges]:
    """Crop and flip patches, uint8 [n, 3, P, P] to [n, 3, S, S], and return the remaining pixel operations.

    Args:
        statistics: Required for PCA noise and for `normalize="pixel_at_crop"`, Caffe's mean image.
    """
    images = random_crops(patches, preprocess.image_size, draws.corner)
    flipped = draws.flip < (0.5 if config.horizontal_flip else 0)
    images[flipped] = mirrored(images[flipped])
    matrix = shift = mean = noise = divisor = keep = None
    if config.normalize == "pixel_at_crop" and statistics:
        whole = np.broadcast_to(whole_levels(statistics.mean_image), patches.shape)
        mean = random_crops(whole, preprocess.image_size, draws.corner)
        mean[flipped] = mean[flipped][..., ::-1]
    if config.color_jitter:
        matrix, shift = jitter(images, 1 + config.color_jitter * (2 * draws.jitter - 1))
    if config.pca_noise and statistics and not 0 < config.pca_epochs <= epoch:
        levels = pca_noise(statistics, config.pca_noise * draws.noise, deviations=config.pca_scale == "deviations")
        noise = (levels[:, :, None, None] * preprocess.scale).astype(np.float32)
        if config.pca_divisor != 1:
            divisor = np.full((len(images), 1, 1, 1), config.pca_divisor, np.float32)
    if config.random_erasing:
        keep = rectangles(preprocess.image_size, draws.erasing, config.random_erasing)
    return images, PixelChanges(matrix, shift, mean, noise, divisor, keep)


def finish(
    images: Any,
    changes: PixelChanges,
    preprocess: Preprocess,
    to_tensor: Callable[[np.ndarray], Any] = np.asarray,
) -> Any:
    """Return the network's input, float32 [n, 3, S, S], from uint8 images; `to_tensor` decides array or tensor."""
    levels = to_tensor(images).astype("float32")
    matrix, shift, mean, noise, divisor, keep = (None if change is None else to_tensor(change) for change in changes)
    if matrix is not None and shift is not None:
        mixed = [matrix[:, :, i, None, None] * levels[:, i, None] for i in range(3)]  # no matmul: see `pca_noise`
        levels = (mixed[0] + mixed[1] + mixed[2] + shift[..., None]).clip(0, 255)
    values = preprocess.normalize(levels, to_tensor, mean)
    if noise is not None:
        values += noise
    if divisor is not None:
        values /= divisor
    if keep is not None:
        values *= keep
    return values


def random_crops(patches: np.ndarray, size: int, corner: np.ndarray) -> np.ndarray:
    """Crop each patch, uint8 [n, 3, P, P] to [n, 3, S, S], at `corner` [n, 2] in 0..1 (section 4.1)."""
    top, left = (corner * (patches.shape[-1] - size + 1)).astype(int).T
    rows = np.lib.stride_tricks.sliding_window_view(patches, size, axis=2)  # [n, 3, P - S + 1, P, S]
    windows = np.lib.stride_tricks.sliding_window_view(rows, size, axis=3)  # [n, 3, P - S + 1, P - S + 1, S, S]
    return windows[np.arange(len(patches)), :, top, left]


def mirrored(planes: np.ndarray) -> np.ndarray:
    """Flip planes, uint8 [..., S], horizontally: eight bytes at a time, which is faster than NumPy's flip."""
    size = planes.shape[-1]
    rows = np.empty((*planes.shape[:-1], -(-size // 8) * 8), np.uint8)
    rows[..., -size:] = planes
    return rows.view(np.uint64)[..., ::-1].byteswap().view(np.uint8)[..., :size]


def ten_crops(patches: np.ndarray, size: int, edge: Optional[int] = None) -> np.ndarray:
    """Return the four corners, the center and their horizontal flips, [n, 3, P, P] to [n, 10, 3, S, S] (section 4.1).

    Args:
        edge: Pixels before the center crop; by default (P - S) // 2.
    """
    end = patches.shape[-1] - size
    middle = end // 2 if edge is None else edge
    corners = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    five = np.stack([patches[..., top : top + size, left : left + size] for top, left in corners], axis=1)
    return np.concatenate([five, five[..., ::-1]], axis=1)


def jitter(planes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one matrix [n, 3, 3] and shift [n, 3, 1] for brightness, contrast and saturation in this order.

    Brightness scales the levels, contrast their distance to the image's mean gray, saturation their distance to the
    pixel's gray, by `factors` [n, 3]. The caller clips once, after all three.
    """
    brightness, contrast, saturation = factors.astype(np.float32).T[:, :, None, None]
    gray = np.broadcast_to(_GRAY, (3, 3))
    matrix = brightness * contrast * (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * gray)
    mean_gray = (planes.mean(axis=(2, 3), dtype=np.float32) * _GRAY).sum(axis=1)  # no matmul: see `pca_noise`
    shift = (brightness * (1 - contrast))[:, :, 0] * mean_gray[:, None]
    return matrix, np.repeat(shift[:, :, None], 3, axis=1)


def pca_noise(statistics: "Statistics", alpha: np.ndarray, *, deviations: bool) -> np.ndarray:
    """Return the levels [n, 3] to add to every pixel of an image (section 4.1).

    A matrix product would make an image depend on its batch: BLAS rounding varies with memory layout and batch size.

    Args:
        alpha: Factors [n, 3] of the eigenvalues of the covariance of values in 0..1.
        deviations: Multiply their square roots instead.
    """
    values = statistics.eigenvalues / 255**2
    along = alpha * (np.sqrt(values) if deviations else values)  # [n, 3], the principal components
    return 255 * (along[:, None, :] * statistics.eigenvectors).sum(axis=2)


def rectangles(size: int, uniform: np.ndarray, probability: float) -> np.ndarray:
    """Return masks for random erasing (Zhong et al. 2017): float32 [n, 1, S, S], 0 in the rectangle and 1 elsewhere.

    The rectangle has 2 to 33 % of the area and an aspect ratio of 3:10 to 10:3; the image's edges clip it.
    """
    chosen, area, shape, x, y = uniform.T[:, :, None]
    area, ratio = 0.02 + 0.31 * area, np.exp(math.log(10 / 3) * (2 * shape - 1))
    sides = np.minimum(size, np.round(size * np.sqrt([area * ratio, area / ratio])))
    ends = np.floor(np.stack([x, y]) * (size - sides + 1))
    at = np.arange(size)
    across, down = (at >= ends) & (at < ends + sides) & (chosen < probability)
    return (~(down[:, :, None] & across[:, None, :])).astype(np.float32)[:, None]


def mixup(image: Any, label: np.ndarray, classes: int, rng: np.random.Generator, *, alpha: float) -> tuple[Any, Any]:
    """Blend a batch with its reverse; labels [N] become class probabilities [N, C] float32 (Zhang et al. 2017).

    The whole batch has one mixing factor, drawn from Beta(α, α).
    """
    share = float(rng.beta(alpha, alpha))
    labels = np.eye(classes, dtype=np.float32)[label]
    return image * share + image[::-1] * (1 - share), labels * share + labels[::-1] * (1 - share)
