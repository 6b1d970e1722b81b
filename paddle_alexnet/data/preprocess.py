"""From an image to the network's input: the one definition that training, evaluation and prediction share."""

import base64
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Callable, Literal, Optional, Union

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from paddle_alexnet.data import opencv
from paddle_alexnet.data.formats import identify, load_truncated
from paddle_alexnet.system.errors import UserError

MAX_SIDE = 65_500  # pixels, JPEG's own limit
DECODE_LIMIT = 512  # megabytes that the pixels of a decoded image may take

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
_PHOTOMETRIC = 262  # of TIFF


@dataclass(frozen=True)
class Preprocess:
    """What an image goes through; the checkpoint and the exported folder carry it with them.

    Its `geometry` gives a patch of P×P, where P is `resize` or else `image_size`: `squash` takes the whole image, as
    the `fluid` system and Caffe do, `crop` its central square, which is what section 2 of the paper cuts from the image
    whose shorter side was rescaled to P, exact to fractions of a pixel. `torchvision` and `paddleclas` rescale the
    image to a shorter side of P, round the longer one and cut whole pixels, each as its source does: the same pixels as
    there. The network sees the center of the patch, S×S with S = `image_size`, scaled to 0..1, less `mean` [R, G, B] or
    less each pixel of the mean image, and divided by `std`.

    With `orientation="exif"` an image is first turned as its EXIF data asks. `resample` is Pillow's filter; all but
    `nearest` take in every pixel where they reduce. `opencv` is OpenCV's bilinear filter, which takes in four. With
    `draft`, JPEG files that are at least four times too large are decoded at a half, a quarter or an eighth, which is
    about twice as fast and about a level off, up to 18 at edges; so are, in any case, those whose pixels would
    take more than `decode_limit` megabytes. With `truncated="accept"` a file that ends too early is decoded as far as
    it goes. Transparent images are laid over the color `background`, or, if that is
    None, their transparency is dropped. The defaults of the fields from
    `orientation` on are what was done before there was a choice.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    geometry: Literal["squash", "crop", "torchvision", "paddleclas"] = "squash"
    resize: Optional[int] = None
    mean_image: Optional[str] = None  # a PNG [S, S] in base64; `mean` is its mean then
    orientation: Literal["stored", "exif"] = "stored"
    resample: Literal["nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"] = "bilinear"
    draft: bool = True
    decode_limit: int = DECODE_LIMIT
    truncated: Literal["error", "accept"] = "error"
    background: Optional[str] = None  # #rrggbb

    def __call__(self, image: Source) -> np.ndarray:
        """Decode an image into uint8 [S, S, 3], RGB. Raises UserError if that cannot be done."""
        return self.center(self.patch(image).transpose(2, 0, 1)).transpose(1, 2, 0)

    def patch(self, image: Source, *, planar: bool = False) -> np.ndarray:
        """Decode an image into uint8 [P, P, 3], RGB, or [3, P, P]. Raises UserError if that cannot be done."""
        part = _central_square if self.geometry == "crop" else _whole
        sides = self._sides if self.rounds else None
        return _pixels(self._decode(image, self.patch_size, part, sides), planar=planar)

    def cut(self, image: Source, part: Part, *, planar: bool = False) -> np.ndarray:
        """Decode that part of an image into uint8 [S, S, 3], RGB, or [3, S, S].

        Raises UserError if that cannot be done.
        """
        return _pixels(self._decode(image, self.image_size, part), planar=planar)

    def seen(self, width: int, height: int) -> Box:
        """Return the part of an upright image of this size that the network sees, in pixels of the image."""
        part = _central_square if self.geometry == "crop" else _whole
        left, top, right, bottom = part(width, height)
        wide, high = self._sides(width, height) if self.rounds else (self.patch_size, self.patch_size)
        across, down = (right - left) / wide, (bottom - top) / high
        left, top = left + self.edge(wide) * across, top + self.edge(high) * down
        return left, top, left + self.image_size * across, top + self.image_size * down

    def original(self, image: Source) -> Image.Image:
        """Decode a sound image whole, upright as the network sees it, in its own size unless `decode_limit` is less.

        Raises what Pillow raises for a damaged one: let `patch` decode it first.
        """
        with open_image(image) as opened:
            turn = exif_orientation(opened) if self.orientation == "exif" else 1
            decode_at(opened, scales_within(opened, self.decode_limit, whole=opened is image)[0])
            if self.truncated == "accept":
                load_truncated(opened)
            return to_rgb(opened, turn=turn, background=self.background).copy()

    def center(self, patches: np.ndarray) -> np.ndarray:
        """The central S×S of patches [..., P, P]."""
        edge = self.edge(self.patch_size)
        return patches[..., edge : edge + self.image_size, edge : edge + self.image_size]

    def edge(self, side: int) -> int:
        """Return the pixels of a `side` that lie before the center that the network sees."""
        free = side - self.image_size
        return round(free / 2) if self.geometry == "torchvision" else free // 2

    def _sides(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that torchvision or PaddleClas resizes an image to, the shorter of P."""
        size = self.patch_size
        if self.geometry == "torchvision":
            long = int(size * max(width, height) / min(width, height))
        else:
            long = round(max(width, height) * (size / min(width, height)))
        return (size, long) if width <= height else (long, size)

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Normalize uint8 [N, S, S, 3] to the network's input, float32 [N, 3, S, S]."""
        return self.normalize(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))

    def normalize(self, levels: Any, to_tensor: Callable[[np.ndarray], Any] = np.asarray, mean: Any = None) -> Any:
        """Levels of 0..255, float32 [N, 3, S, S], to the network's input, in place.

        An array; or a tensor of a framework whose `to_tensor` makes one of an array. `mean`, levels of the same shape,
        takes the place of the mean that all images have in common.
        """
        scale = to_tensor(self.scale)
        levels *= scale
        levels += to_tensor(self.offset) if mean is None else -mean.astype("float32") * scale
        return levels

    def _decode(
        self, source: Source, size: int, part: Part, sides: Optional[Callable[[int, int], tuple[int, int]]] = None
    ) -> Image.Image:
        """Decode the part of an image that `part(width, height)` names, in one pass, into RGB of size×size.

        With `sides`, the part is resized to `sides(width, height)`, and size×size of it is cut so that the network sees
        the center.

        Raises UserError for what is no image, is damaged or too large.
        """
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the image"
        try:
            with open_image(source) as image:
                scales = scales_within(image, self.decode_limit, whole=image is source)  # a caller's own stays as it is
                turn = exif_orientation(image) if self.orientation == "exif" else 1
                order = -1 if turn >= 5 else 1
                width, height = image.size[::order]
                left, top, right, bottom = part(width, height)
                wide, high = sides(width, height) if sides else (size, size)
                if sides and (takes := 4 * wide * high / 1e6) > self.decode_limit:
                    raise UserError(
                        f"{width}×{height} pixels, resized to {wide}×{high}, take {takes:,.0f} MB, decode_limit is "
                        f"{self.decode_limit}: raise it, or crop the image"
                    )
                # A draft keeps twice the size at least, for the filter.
                least = (math.ceil(2 * wide * width / (right - left)), math.ceil(2 * high * height / (bottom - top)))
                scale = scales[0]
                if self.draft:
                    scale = max(scale, *(s for s in scales if width // s >= least[0] and height // s >= least[1]), 1)
                decode_at(image, scale)
                decoded = image if scale > 1 or image is source else self._decoded(image)
                if self.truncated == "accept":
                    load_truncated(decoded)
                rgb = to_rgb(decoded, turn=turn, background=self.background)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        except FileNotFoundError:
            raise UserError(f"{name}: no such image") from None
        except Exception as error:  # a damaged file may raise anything
            reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
            accept = ", or set truncated to accept" if "truncated" in reason and self.truncated == "error" else ""
            raise UserError(f"{name}: unreadable image ({reason}): replace it or take it out{accept}") from None
        across, down = rgb.width / width, rgb.height / height
        box = (left * across, top * down, min(right * across, rgb.width), min(bottom * down, rgb.height))
        x, y = (self.edge(side) - self.edge(size) if sides else 0 for side in (wide, high))
        window = (x, y, x + size, y + size)
        if self.resample == "opencv":
            return Image.fromarray(opencv.resize(_whole_pixels(rgb, box), (wide, high), window))
        resample = Image.Resampling[self.resample.upper()]
        resized = rgb.resize((wide, high), resample, box=box, reducing_gap=2.0 if self.draft else None)
        return resized.crop(window) if sides else resized

    def _decoded(self, image: Image.Image) -> Image.Image:
        """An opened file with its pixels, or as it is where Pillow is to decode it."""
        return image

    def decoded_by(self, decoder: Literal["pillow", "simplejpeg"]) -> "Preprocess":
        """The same with another decoder of JPEG files, whose pixels are the same. Raises UserError if it is missing."""
        if decoder == "pillow":
            return self
        if not find_spec("simplejpeg"):
            raise UserError(
                'simplejpeg is not installed: pip install "paddle-alexnet[fast]", or use data.decoder=pillow'
            )
        return _BySimplejpeg(**{entry.name: getattr(self, entry.name) for entry in fields(self)})

    @property
    def patch_size(self) -> int:
        return self.resize or self.image_size

    @property
    def rounds(self) -> bool:
        """Whether whole images are resized and whole pixels cut, as another library does."""
        return self.geometry in ("torchvision", "paddleclas")

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


class _BySimplejpeg(Preprocess):
    """Decodes JPEG files in color with libjpeg-turbo's own interface.

    It raises ValueError for damage that Pillow passes over.
    """

    def _decoded(self, image: Image.Image) -> Image.Image:
        if not isinstance(image, ImageFile.ImageFile) or image.format != "JPEG" or image.mode != "RGB":
            return image
        import simplejpeg

        assert image.fp is not None  # the file is open, for its pixels are not there yet
        image.fp.seek(0)
        content = image.fp.read()
        return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB", strict=self.truncated == "error"))


def whole_levels(mean: np.ndarray) -> np.ndarray:
    """A mean image in levels of 0..255, rounded to uint8: the one that is subtracted in training too."""
    return mean.round().astype(np.uint8)


def encode_mean_image(mean: np.ndarray) -> str:
    """A mean image [3, S, S] in levels of 0..255, rounded to whole levels, as `Preprocess.mean_image` holds it."""
    stream = io.BytesIO()
    Image.fromarray(whole_levels(mean).transpose(1, 2, 0)).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


@contextmanager
def open_image(source: Source) -> Iterator[Image.Image]:
    """An image, not yet decoded; of a file only in one of IMAGE_FORMATS.

    What `Image.open` does but for its limit of pixels, for which there is `limit_size`. Raises UserError for pixels of
    another form, and what Pillow raises for a file that is no image.
    """
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UserError(f"it is {source.dtype} {list(source.shape)}: give uint8 [height, width, 3]")
        yield Image.fromarray(source)
    else:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            yield identify(stream)


def scales_within(image: Image.Image, limit: int = DECODE_LIMIT, *, whole: bool = False) -> list[int]:
    """Of 1, 2, 4 and 8, the parts of its width and height at which an image's pixels take no more megabytes than that.

    Only a JPEG file that is not decoded yet can be decoded at less than its `whole` size. Raises UserError where there
    is none, and for impossible sides.
    """
    width, height = image.size
    if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise UserError(f"{width}×{height} pixels: sides must be of 1 to {MAX_SIDE:,}, take it out")
    scales = (1,) if whole or image.format not in ("JPEG", "MPO") else (1, 2, 4, 8)
    # Pillow takes 4 bytes a pixel; of a progressive JPEG file the decoder holds all coefficients, of 2 bytes.
    held = 2 * len(image.getbands()) if "progressive" in image.info else 0
    takes = {scale: width * height * (4 / scale**2 + held) / 1e6 for scale in scales}
    if takes[scales[-1]] > limit:
        raise UserError(
            f"{width}×{height} pixels take {takes[scales[-1]]:,.0f} MB to decode, decode_limit is {limit}: "
            "raise it, or save the image smaller"
        )
    return [scale for scale in scales if takes[scale] <= limit]


def decode_at(image: Image.Image, scale: int) -> None:
    """Have a JPEG file decoded at 1 / `scale` of its width and height, one of `scales_within`."""
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def exif_orientation(image: Image.Image) -> int:
    """The orientation of 1 to 8 by EXIF, 1 where there is none."""
    with suppress(Exception):  # broken EXIF does not spoil a picture
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def to_rgb(image: Image.Image, *, turn: int = 1, background: Optional[str] = None) -> Image.Image:
    """The pixels of an image in 8 bits of R, G and B, upright by its EXIF orientation `turn`.

    Transparency is dropped, or the image is laid over the color `background`; CMYK goes by Pillow's plain formula,
    without color profiles. Gray of 16 bits is divided by 257, so that white stays white. Raises ValueError for pixels
    of 32 bits, whose white is not known.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif image.mode in ("La", "RGBa") or "transparency" in image.info:  # which Pillow takes to RGB by this way alone
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if background and image.mode in ("LA", "PA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.load()
    return rgb.transpose(_TURNS[turn]) if turn in _TURNS else rgb


def _eight_bits(image: Image.Image) -> Image.Image:
    """Gray of 8 bits from 12 or 16."""
    stored = str(getattr(image, "tile", ""))  # how the file holds its pixels, where it is not decoded yet
    if not image.mode.startswith("I;16") and image.format not in ("PNG", "PPM"):
        raise ValueError(f"what is white is not known of pixels of mode {image.mode}, save it with 8 or 16 bits")
    white = 4095 if "I;12" in stored else 65535
    levels = np.asarray(image).astype(np.float32) * (255 / white)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is 0
        levels = 255 - levels
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


def _whole(width: int, height: int) -> Box:
    return (0, 0, width, height)


def _whole_pixels(image: Image.Image, box: Box) -> np.ndarray:
    """The pixels of a part of an RGB image, uint8 [H, W, 3], the part rounded to whole ones."""
    left, top, right, bottom = box
    x, y = round(left), round(top)
    return np.asarray(image)[y : y + max(1, round(bottom - top)), x : x + max(1, round(right - left))]


def _pixels(image: Image.Image, *, planar: bool) -> np.ndarray:
    """The pixels of an RGB image, uint8 [H, W, 3] or [3, H, W]; the latter row by row, which copies fast."""
    if not planar:
        return np.asarray(image)
    rows = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(image.height, 3, image.width)
    return rows.transpose(1, 0, 2)


def _central_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
