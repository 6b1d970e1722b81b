"""Random augmentation of training images, vectorized over a batch and deterministic in (seed, epoch, index).

The numbers drawn for an image depend on the seed, the epoch and the image's index alone: not on the order, the batch,
the number of workers or which augmentations are switched on.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.preprocess import Box, Part, Preprocess, whole_levels
from paddle_alexnet.data.statistics import Statistics

_ATTEMPTS = 10  # at a random part that fits into the image
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow


class Draws(NamedTuple):
    """Random numbers for n images, of 0..1 but for `noise`, which is normal; each augmentation has its own."""

    corner: np.ndarray  # [n, 2], top and left of a random crop
    flip: np.ndarray  # [n]
    jitter: np.ndarray  # [n, 3], brightness, contrast, saturation
    erasing: np.ndarray  # [n, 5], whether; the rectangle's area, shape, left and top
    part_area: np.ndarray  # [n, 10], an attempt a column
    part_shape: np.ndarray  # [n, 10]
    part_corner: np.ndarray  # [n, 2], left and top
    noise: np.ndarray  # [n, 3], along the principal components


class PixelChanges(NamedTuple):
    """What is left to do to the pixels of n cropped images, None where nothing is; arrays or tensors.

    `matrix` [n, 3, 3] and `shift` [n, 3, 1] act on levels of 0..255; `mean` [n, 3, S, S] in levels takes the place of
    the mean image; `noise` [n, 3, 1, 1] is added to the normalized image, which is divided by `divisor` [n, 1, 1, 1]
    then; `keep` [n, 1, S, S] is 0 where it is erased, else 1.
    """

    matrix: Any = None
    shift: Any = None
    mean: Any = None
    noise: Any = None
    divisor: Any = None
    keep: Any = None


def draw(indices: Sequence[int], leaders: Optional[Sequence[int]] = None, *, seed: int, epoch: int) -> Draws:
    """Random numbers for images by their index in the data set; what crops and flips one is drawn for its leader."""
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
    """A random part for each image, given its width and height (`random_part`)."""
    numbers = zip(draws.part_area, draws.part_shape, draws.part_corner)
    return [partial(random_part, area=least + (1 - least) * a, shape=s, corner=corner) for a, s, corner in numbers]


def random_part(width: int, height: int, *, area: np.ndarray, shape: np.ndarray, corner: np.ndarray) -> Box:
    """A part of that share of the area and of 3:4 to 4:3, anywhere.

    The RandomResizedCrop of torchvision and `paddle.vision`, whose shares are 8 to 100 %: the first of ten attempts
    that fits, else the largest part in the middle, of whole pixels. (They cut before they resize; here the filter
    reaches a pixel or so beyond the part, as far as the image goes.)
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
    statistics: Optional[Statistics],
    *,
    epoch: int = 0,
) -> tuple[np.ndarray, PixelChanges]:
    """Crop and flip patches, uint8 [n, 3, P, P] to [n, 3, S, S], and say what is to happen to the pixels.

    `statistics` are needed for PCA noise and where the mean image is cropped and flipped with the patches, as Caffe
    does.
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
    """The network's input, float32 [n, 3, S, S], from uint8 images; a tensor where `to_tensor` makes one."""
    levels = to_tensor(images).astype("float32")
    matrix, shift, mean, noise, divisor, keep = (None if change is None else to_tensor(change) for change in changes)
    if matrix is not None and shift is not None:
        mixed = [matrix[:, :, i, None, None] * levels[:, i, None] for i in range(3)]  # see `pca_noise`
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
    """A window of each patch, uint8 [n, 3, P, P] to [n, 3, S, S], at random by `corner` [n, 2] (section 4.1)."""
    top, left = (corner * (patches.shape[-1] - size + 1)).astype(int).T
    rows = np.lib.stride_tricks.sliding_window_view(patches, size, axis=2)  # [n, 3, P - S + 1, P, S]
    windows = np.lib.stride_tricks.sliding_window_view(rows, size, axis=3)  # [n, 3, P - S + 1, P - S + 1, S, S]
    return windows[np.arange(len(patches)), :, top, left]


def mirrored(planes: np.ndarray) -> np.ndarray:
    """The planes of uint8 [..., S], left and right exchanged: by eight bytes at once, which NumPy alone does not do."""
    size = planes.shape[-1]
    rows = np.empty((*planes.shape[:-1], -(-size // 8) * 8), np.uint8)
    rows[..., -size:] = planes
    return rows.view(np.uint64)[..., ::-1].byteswap().view(np.uint8)[..., :size]


def ten_crops(patches: np.ndarray, size: int, edge: Optional[int] = None) -> np.ndarray:
    """The corners, the center and their horizontal flips, uint8 [n, 3, P, P] to [n, 10, 3, S, S] (section 4.1).

    The center begins after `edge` pixels, by default half of what is left over, rounded down.
    """
    end = patches.shape[-1] - size
    middle = end // 2 if edge is None else edge
    corners = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    five = np.stack([patches[..., top : top + size, left : left + size] for top, left in corners], axis=1)
    return np.concatenate([five, five[..., ::-1]], axis=1)


def jitter(planes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, contrast and saturation times `factors` [n, 3], as one matrix [n, 3, 3] and shift [n, 3, 1].

    In this order: levels times the first; their distance to the image's mean gray times the second; their distance to
    the pixel's gray times the third. Levels are to be clipped once, after the three.
    """
    brightness, contrast, saturation = factors.astype(np.float32).T[:, :, None, None]
    gray = np.broadcast_to(_GRAY, (3, 3))
    matrix = brightness * contrast * (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * gray)
    mean_gray = (planes.mean(axis=(2, 3), dtype=np.float32) * _GRAY).sum(axis=1)  # see `pca_noise`
    shift = (brightness * (1 - contrast))[:, :, 0] * mean_gray[:, None]
    return matrix, np.repeat(shift[:, :, None], 3, axis=1)


def pca_noise(statistics: Statistics, alpha: np.ndarray, *, deviations: bool) -> np.ndarray:
    """What is added to every pixel of an image, [n, 3] levels, for its α [n, 3] (section 4.1 of the paper).

    α multiplies the eigenvalues of the covariance of values in 0..1, or the roots of them, the deviations.

    Not by a matrix product: a BLAS may round one by where the numbers lie and by how many there are, and an image would
    depend on those that are prepared beside it.
    """
    values = statistics.eigenvalues / 255**2
    along = alpha * (np.sqrt(values) if deviations else values)  # [n, 3], the principal components
    return 255 * (along[:, None, :] * statistics.eigenvectors).sum(axis=2)


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


def mixup(image: Any, label: np.ndarray, classes: int, rng: np.random.Generator, *, alpha: float) -> tuple[Any, Any]:
    """Blend each image of a batch with that at the other end; labels [N] become shares [N, C] float32.

    One share for the whole batch, from the Beta(α, α) distribution (Zhang et al. 2017).
    """
    share = float(rng.beta(alpha, alpha))
    labels = np.eye(classes, dtype=np.float32)[label]
    return image * share + image[::-1] * (1 - share), labels * share + labels[::-1] * (1 - share)
