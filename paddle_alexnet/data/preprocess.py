"""From an image file to the network's input: one definition for evaluation and prediction, which training varies."""

import base64
import io
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Callable, Literal, Optional

import numpy as np
from PIL import Image, UnidentifiedImageError

from paddle_alexnet.errors import UserError

IMAGE_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")  # Pillow's names
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .bmp .dib .webp .tif .tiff .gif .ppm .pgm .pbm .pnm .avif .jp2 .j2k".split()
)
MAX_SIDE = 65_500  # pixels, JPEG's own limit

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

# Pillow warns of an image of more than 89 million pixels and refuses twice that: refuse both.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Preprocess:
    """What an image goes through; the checkpoint and the exported folder carry it with them.

    Its `geometry` gives a patch of P×P, where P is `resize` or else `image_size`: `squash` takes the whole image, as
    the `fluid` system and Caffe do, `crop` its central square, which is what section 2 of the paper cuts from the image
    whose shorter side was rescaled to P. The network sees the centre of the patch, S×S with S = `image_size`,
    scaled to 0..1, less `mean` [R, G, B] or less each pixel of the mean image, and divided by `std`.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    geometry: Literal["squash", "crop"] = "squash"
    resize: Optional[int] = None
    mean_image: Optional[str] = None  # a PNG [S, S] in base64; `mean` is its mean then

    def __call__(self, path: Path) -> np.ndarray:
        """Read an image file into uint8 [S, S, 3], RGB. Raises UserError if it cannot be decoded."""
        patch = self.patch(path)
        edge = (self.patch_size - self.image_size) // 2
        return patch[edge : edge + self.image_size, edge : edge + self.image_size]

    def patch(self, path: Path) -> np.ndarray:
        """Read an image file into uint8 [P, P, 3], RGB. Raises UserError if it cannot be decoded."""
        return decode(path, self.patch_size, whole if self.geometry == "squash" else central_square)

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Normalise uint8 [N, S, S, 3] to the network's input, float32 [N, 3, S, S]."""
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
        planes *= self.scale
        planes += self.offset
        return planes

    @property
    def patch_size(self) -> int:
        return self.resize or self.image_size

    @cached_property
    def scale(self) -> np.ndarray:
        """What a level of 0..255 is multiplied by before `offset` is added, float32 [3, 1, 1]."""
        return (1 / (255 * np.array(self.std, np.float32))).reshape(3, 1, 1)

    @cached_property
    def offset(self) -> np.ndarray:
        """What is added after multiplying by `scale`, float32 [3, 1, 1], or [3, S, S] with a mean image."""
        mean = self.mean_planes
        if mean is None:
            mean = 255 * np.array(self.mean, np.float32).reshape(3, 1, 1)
        return -mean * self.scale

    @cached_property
    def mean_planes(self) -> Optional[np.ndarray]:
        """The mean image, float32 [3, S, S] in levels of 0..255."""
        if self.mean_image is None:
            return None
        with Image.open(io.BytesIO(base64.b64decode(self.mean_image))) as image:
            return np.asarray(image, np.float32).transpose(2, 0, 1)


def encode_mean_image(mean: np.ndarray) -> str:
    """A mean image [3, S, S] in levels of 0..255, rounded to whole levels, as `Preprocess.mean_image` holds it."""
    stream = io.BytesIO()
    Image.fromarray(mean.round().astype(np.uint8).transpose(1, 2, 0)).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def whole(width: int, height: int) -> Box:
    return (0, 0, width, height)


def central_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def decode(path: Path, size: int, box: Callable[[int, int], Box]) -> np.ndarray:
    """Read the part of an image that `box(width, height)` names into uint8 [size, size, 3], RGB.

    Cropped and resized in one pass; of a JPEG that is at least four times too large, only every second, fourth or
    eighth pixel's frequencies are decoded. Raises UserError for what is no image, is damaged or too large.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
                raise UserError(f"{path}: {width}×{height} pixels: sides must be of 1 to {MAX_SIDE:,}, take it out")
            left, top, right, bottom = box(width, height)
            # Twice the size at least is kept for the filter of `resize`.
            image.draft(
                None,
                (math.ceil(2 * size * width / (right - left)), math.ceil(2 * size * height / (bottom - top))),
            )
            rgb = image.convert("RGB")
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except Exception as error:  # a damaged file may raise anything
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{path}: unreadable image ({reason}): replace it or take it out") from None
    across, down = rgb.width / width, rgb.height / height
    part = (left * across, top * down, min(right * across, rgb.width), min(bottom * down, rgb.height))
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR, box=part, reducing_gap=2.0))
