"""From an image to the network's input: the one definition that training, evaluation and prediction share."""

import base64
import io
import math
import os
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Callable, Literal, Optional, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from paddle_alexnet.errors import UserError

# Pillow's names of the formats that are meant (JPEG is MPO too); others are no pictures or start programs (PostScript).
IMAGE_FORMATS = ["JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000"]
if find_spec("PIL.AvifImagePlugin"):  # since Pillow 11.3
    IMAGE_FORMATS.append("AVIF")
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .bmp .dib .webp .tif .tiff .gif .ppm .pgm .pbm .pnm .avif .jp2 .j2k".split()
)
MAX_SIDE = 65_500  # pixels, JPEG's own limit
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # above it Pillow takes an image for a decompression bomb

# A path, the bytes of a file, a Pillow image or pixels, uint8 [H, W, 3].
Source = Union[str, "os.PathLike[str]", bytes, Image.Image, np.ndarray]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Part = Callable[[int, int], Box]  # of an image of this width and height

# What makes a picture upright, by its EXIF orientation; those of 5 and more exchange width and height.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of an image of more than 89 million pixels and refuses twice that: refuse both.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Preprocess:
    """What an image goes through; the checkpoint and the exported folder carry it with them.

    Its `geometry` gives a patch of P×P, where P is `resize` or else `image_size`: `squash` takes the whole image, as
    the `fluid` system and Caffe do, `crop` its central square, which is what section 2 of the paper cuts from the image
    whose shorter side was rescaled to P. The network sees the centre of the patch, S×S with S = `image_size`,
    scaled to 0..1, less `mean` [R, G, B] or less each pixel of the mean image, and divided by `std`. With
    `orientation="exif"` a picture is first turned as its EXIF data asks.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    geometry: Literal["squash", "crop"] = "squash"
    resize: Optional[int] = None
    mean_image: Optional[str] = None  # a PNG [S, S] in base64; `mean` is its mean then
    orientation: Literal["stored", "exif"] = "stored"

    def __call__(self, image: Source) -> np.ndarray:
        """Decode an image into uint8 [S, S, 3], RGB. Raises UserError if that cannot be done."""
        return self.centre(self.patch(image).transpose(2, 0, 1)).transpose(1, 2, 0)

    def patch(self, image: Source) -> np.ndarray:
        """Decode an image into uint8 [P, P, 3], RGB. Raises UserError if that cannot be done."""
        part = _whole if self.geometry == "squash" else _central_square
        return decode(image, self.patch_size, part, orientation=self.orientation)

    def cut(self, image: Source, part: Part) -> np.ndarray:
        """Decode that part of an image into uint8 [S, S, 3], RGB. Raises UserError if that cannot be done."""
        return decode(image, self.image_size, part, orientation=self.orientation)

    def centre(self, patches: np.ndarray) -> np.ndarray:
        """The central S×S of patches [..., P, P]."""
        edge = (self.patch_size - self.image_size) // 2
        return patches[..., edge : edge + self.image_size, edge : edge + self.image_size]

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Normalise uint8 [N, S, S, 3] to the network's input, float32 [N, 3, S, S]."""
        return self.normalise(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))

    def normalise(self, levels: Any, to_tensor: Callable[[np.ndarray], Any] = np.asarray) -> Any:
        """Levels of 0..255, float32 [N, 3, S, S], to the network's input, in place.

        An array; or a tensor of a framework whose `to_tensor` makes one of an array.
        """
        levels *= to_tensor(self.scale)
        levels += to_tensor(self.offset)
        return levels

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
        if self.mean_image is None:
            return -(255 * np.array(self.mean, np.float32).reshape(3, 1, 1)) * self.scale
        with Image.open(io.BytesIO(base64.b64decode(self.mean_image)), formats=("PNG",)) as image:
            return -np.asarray(image, np.float32).transpose(2, 0, 1) * self.scale


def encode_mean_image(mean: np.ndarray) -> str:
    """A mean image [3, S, S] in levels of 0..255, rounded to whole levels, as `Preprocess.mean_image` holds it."""
    stream = io.BytesIO()
    Image.fromarray(mean.round().astype(np.uint8).transpose(1, 2, 0)).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def fits(width: int, height: int) -> bool:
    """Whether an image of this size in pixels can be decoded."""
    return 1 <= min(width, height) <= max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS


def decode(source: Source, size: int, part: Part, *, orientation: Literal["stored", "exif"] = "stored") -> np.ndarray:
    """Decode the part of an image that `part(width, height)` names into uint8 [size, size, 3], RGB.

    Cropped and resized in one pass; of a JPEG file that is at least four times too large, only every second, fourth or
    eighth pixel's frequencies are decoded. Raises UserError for what is no image, is damaged or too large.
    """
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the image"
    try:
        with _open(source) as image:
            turned = _exif_orientation(image) if orientation == "exif" else 1
            sideways = turned >= 5
            width, height = image.size[::-1] if sideways else image.size
            if not fits(width, height):
                limits = f"sides must be of 1 to {MAX_SIDE:,}, no more than {MAX_PIXELS:,} in all, take it out"
                raise UserError(f"{name}: {width}×{height} pixels: {limits}")
            left, top, right, bottom = part(width, height)
            if image is not source:  # a caller's own image stays as it is
                # Twice the size at least is kept for the filter of `resize`.
                least = (math.ceil(2 * size * width / (right - left)), math.ceil(2 * size * height / (bottom - top)))
                image.draft(None, least[::-1] if sideways else least)
            rgb = image.convert("RGB")
            if turned in _TURNS:
                rgb = rgb.transpose(_TURNS[turned])
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{name}: no such image") from None
    except Exception as error:  # a damaged file may raise anything
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name}: unreadable image ({reason}): replace it or take it out") from None
    across, down = rgb.width / width, rgb.height / height
    box = (left * across, top * down, min(right * across, rgb.width), min(bottom * down, rgb.height))
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def _open(source: Source) -> AbstractContextManager[Image.Image]:
    if isinstance(source, Image.Image):
        return nullcontext(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UserError(f"the image is {source.dtype} {list(source.shape)}: give uint8 [height, width, 3]")
        return Image.fromarray(source)
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=IMAGE_FORMATS)


def _exif_orientation(image: Image.Image) -> int:
    with suppress(Exception):  # broken EXIF does not spoil a picture
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def _whole(width: int, height: int) -> Box:
    return (0, 0, width, height)


def _central_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
