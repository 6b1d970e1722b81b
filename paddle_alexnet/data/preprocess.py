"""Image preprocessing, shared by training, evaluation, export and prediction."""

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

from paddle_alexnet.data.formats import identify, load_truncated
from paddle_alexnet.system.errors import MissingFileError, UserError

MAX_SIDE = 65_500  # pixels, JPEG's limit
DECODE_LIMIT = 512  # megabytes of decoded pixels

# A path, a file's bytes, a Pillow image, or pixels as uint8 [H, W, 3].
Source = Union[str, "os.PathLike[str]", bytes, Image.Image, np.ndarray]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Part = Callable[[int, int], Box]  # of width and height

# The transposition for each EXIF orientation; 5 and above swap width and height.
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
    """The transform from an image to the network's input, stored in checkpoints and exported folders.

    The geometry makes a patch of P×P (P is `resize`, else `image_size`). The network's input is the patch's center,
    S×S (S is `image_size`), scaled to 0..1, minus the mean, divided by `std`. A missing field keeps its default, the
    behavior before the field existed.

    Attributes:
        mean: R, G, B in 0..1.
        std: R, G, B, of values in 0..1.
        geometry: `squash` resizes the whole image to P×P (`fluid`, Caffe); `crop` its central square (section 2), exact
            to fractions of a pixel. `torchvision` and `paddleclas` resize the shorter side to P and crop whole pixels,
            bit-identical to these libraries.
        mean_image: PNG [S, S] in base64 that replaces `mean`, which is then the mean image's mean.
        orientation: `exif` applies the EXIF orientation first.
        resample: Pillow's filter, or OpenCV's bilinear one, which averages four pixels even when it reduces.
        draft: Decode JPEGs that are at least four times too large at 1/2, 1/4 or 1/8: about twice as fast, about one
            level off, up to 18 at edges. Larger images than `decode_limit` are always reduced so.
        decode_limit: Megabytes of decoded pixels.
        truncated: `accept` decodes the available part of a truncated file.
        background: `#rrggbb` under transparent images; None ignores transparency.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    geometry: Literal["squash", "crop", "torchvision", "paddleclas"] = "squash"
    resize: Optional[int] = None
    mean_image: Optional[str] = None
    orientation: Literal["stored", "exif"] = "stored"
    resample: Literal["nearest", "box", "bilinear", "bicubic", "lanczos", "opencv"] = "bilinear"
    draft: bool = True
    decode_limit: int = DECODE_LIMIT
    truncated: Literal["error", "accept"] = "error"
    background: Optional[str] = None

    def __call__(self, image: Source) -> np.ndarray:
        """Return the network's input for an image, as in evaluation and prediction.

        Args:
            image: A path, the bytes of a file, a Pillow image or an array, uint8 [H, W, 3], RGB.

        Returns:
            float32 [3, S, S], normalized, for `paddle.to_tensor`, `torch.from_numpy` or a data set's `transform`.

        Raises:
            UserError: The image is not found, unreadable, damaged or too large.
        """
        normalized: np.ndarray = self.batch(self.pixels(image)[None])[0]
        return normalized

    def pixels(self, image: Source) -> np.ndarray:
        """Return the center of an image's patch, uint8 [S, S, 3], RGB. Raises UserError like `patch`."""
        return self.center(self.patch(image).transpose(2, 0, 1)).transpose(1, 2, 0)

    def patch(self, image: Source, *, planar: bool = False) -> np.ndarray:
        """Decode an image into uint8 [P, P, 3], RGB, or [3, P, P] if `planar`.

        Raises:
            UserError: The image is not found, unreadable, damaged or too large.
        """
        part = _central_square if self.geometry == "crop" else _whole
        sides = self._sides if self.rounds else None
        return _pixels(self._decode(image, self.patch_size, part, sides), planar=planar)

    def cut(self, image: Source, part: Part, *, planar: bool = False) -> np.ndarray:
        """Decode a part of an image into uint8 [S, S, 3], RGB, or [3, S, S]. Raises UserError like `patch`."""
        return _pixels(self._decode(image, self.image_size, part), planar=planar)

    def seen(self, width: int, height: int) -> Box:
        """Return the part of an upright image of this size that becomes the network's input, in pixels."""
        part = _central_square if self.geometry == "crop" else _whole
        left, top, right, bottom = part(width, height)
        wide, high = self._sides(width, height) if self.rounds else (self.patch_size, self.patch_size)
        across, down = (right - left) / wide, (bottom - top) / high
        left, top = left + self.edge(wide) * across, top + self.edge(high) * down
        return left, top, left + self.image_size * across, top + self.image_size * down

    def original(self, image: Source) -> Image.Image:
        """Decode a whole image, upright and in its own size unless `decode_limit` reduces it.

        Raises Pillow's errors for a damaged image: call `patch` first.
        """
        with open_image(image) as opened:
            turn = exif_orientation(opened) if self.orientation == "exif" else 1
            decode_at(opened, scales_within(opened, self.decode_limit, whole=opened is image)[0])
            if self.truncated == "accept":
                load_truncated(opened)
            return to_rgb(opened, turn=turn, background=self.background).copy()

    def center(self, patches: np.ndarray) -> np.ndarray:
        """Return the central [..., S, S] of patches [..., P, P]."""
        edge = self.edge(self.patch_size)
        return patches[..., edge : edge + self.image_size, edge : edge + self.image_size]

    def edge(self, side: int) -> int:
        """Return the number of pixels of a `side` before the center crop."""
        free = side - self.image_size
        return round(free / 2) if self.geometry == "torchvision" else free // 2

    def _sides(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to which torchvision or PaddleClas resizes an image; the shorter side is P."""
        size = self.patch_size
        if self.geometry == "torchvision":
            long = int(size * max(width, height) / min(width, height))
        else:
            long = round(max(width, height) * (size / min(width, height)))
        return (size, long) if width <= height else (long, size)

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Normalize uint8 [N, S, S, 3] to the network's input, float32 [N, 3, S, S]; leave float32 images unchanged."""
        if images.dtype == np.float32:  # stacked results of a call, which are normalized already
            return images
        return self.normalize(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))

    def normalize(self, levels: Any, to_tensor: Callable[[np.ndarray], Any] = np.asarray, mean: Any = None) -> Any:
        """Normalize levels of 0..255, float32 [N, 3, S, S], in place to the network's input.

        Args:
            to_tensor: Converts an array to the type of `levels`, an array or a framework's tensor.
            mean: Levels of the same shape that replace the common mean.
        """
        scale = to_tensor(self.scale)
        levels *= scale
        levels += to_tensor(self.offset) if mean is None else -mean.astype("float32") * scale
        return levels

    def _decode(
        self, source: Source, size: int, part: Part, sides: Optional[Callable[[int, int], tuple[int, int]]] = None
    ) -> Image.Image:
        """Decode the part `part(width, height)` of an image into RGB of size×size.

        If `sides` is given, resize the part to `sides(width, height)` and crop size×size around the center.
        """
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the image"
        try:
            with open_image(source) as image:
                scales = scales_within(image, self.decode_limit, whole=image is source)  # keep a caller's image
                turn = exif_orientation(image) if self.orientation == "exif" else 1
                order = -1 if turn >= 5 else 1
                width, height = image.size[::order]
                left, top, right, bottom = part(width, height)
                wide, high = sides(width, height) if sides else (size, size)
                if sides and (takes := 4 * wide * high / 1e6) > self.decode_limit:
                    raise UserError(
                        f"{width}×{height} pixels, resized to {wide}×{high}, require {takes:,.0f} MB, decode_limit is "
                        f"{self.decode_limit}; raise it, or crop the image"
                    )
                # A draft keeps at least twice the target size, for the resize filter.
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
            raise MissingFileError(f"{name}: image not found; check the path") from None
        except Exception as error:  # a damaged file may raise anything
            reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
            accept = ", or set truncated to accept" if "truncated" in reason and self.truncated == "error" else ""
            raise UserError(f"{name}: unreadable image ({reason}); replace or remove it{accept}") from None
        across, down = rgb.width / width, rgb.height / height
        box = (left * across, top * down, min(right * across, rgb.width), min(bottom * down, rgb.height))
        x, y = (self.edge(side) - self.edge(size) if sides else 0 for side in (wide, high))
        window = (x, y, x + size, y + size)
        if self.resample == "opencv":
            from paddle_alexnet.data import opencv

            return Image.fromarray(opencv.resize(_whole_pixels(rgb, box), (wide, high), window))
        resample = Image.Resampling[self.resample.upper()]
        resized = rgb.resize((wide, high), resample, box=box, reducing_gap=2.0 if self.draft else None)
        return resized.crop(window) if sides else resized

    def _decoded(self, image: Image.Image) -> Image.Image:
        """Return an opened file with decoded pixels, or unchanged for Pillow to decode."""
        return image

    def decoded_by(self, decoder: Literal["pillow", "simplejpeg"]) -> "Preprocess":
        """Return a copy with another JPEG decoder of bit-identical pixels. Raises UserError if it is not installed."""
        if decoder == "pillow":
            return self
        if not find_spec("simplejpeg"):
            raise UserError(
                'data.decoder: requires simplejpeg; pip install "paddle-alexnet[fast]", or use data.decoder=pillow'
            )
        return _BySimplejpeg(**{entry.name: getattr(self, entry.name) for entry in fields(self)})

    @property
    def patch_size(self) -> int:
        return self.resize or self.image_size

    @property
    def rounds(self) -> bool:
        """Whether the geometry resizes whole images and crops whole pixels."""
        return self.geometry in ("torchvision", "paddleclas")

    @cached_property
    def scale(self) -> np.ndarray:
        """The factor of levels of 0..255, float32 [3, 1, 1]."""
        return (1 / (255 * np.array(self.std, np.float32))).reshape(3, 1, 1)

    @cached_property
    def offset(self) -> np.ndarray:
        """The summand after multiplication by `scale`, float32 [3, 1, 1], or [3, S, S] with a mean image."""
        if self.mean_image is None:
            return -(255 * np.array(self.mean, np.float32).reshape(3, 1, 1)) * self.scale
        with Image.open(io.BytesIO(base64.b64decode(self.mean_image)), formats=("PNG",)) as image:
            return -np.asarray(image, np.float32).transpose(2, 0, 1) * self.scale


class _BySimplejpeg(Preprocess):
    """A Preprocess that decodes color JPEGs by libjpeg-turbo's API; some damage that Pillow ignores is a ValueError."""

    def _decoded(self, image: Image.Image) -> Image.Image:
        if not isinstance(image, ImageFile.ImageFile) or image.format != "JPEG" or image.mode != "RGB":
            return image
        import simplejpeg

        assert image.fp is not None  # open until the pixels are decoded
        image.fp.seek(0)
        content = image.fp.read()
        return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB", strict=self.truncated == "error"))


def decode_rgb(image: Source) -> np.ndarray:
    """Decode a whole image, uint8 [H, W, 3], RGB, upright by its EXIF orientation. Raises UserError like `patch`."""
    name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else "the image"
    try:
        with open_image(image) as opened:
            return np.array(to_rgb(opened, turn=exif_orientation(opened)))
    except FileNotFoundError:
        raise MissingFileError(f"{name}: image not found; check the path") from None
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{name}: unreadable image ({error}); replace or remove it") from None


def whole_levels(mean: np.ndarray) -> np.ndarray:
    """Round a mean image in levels of 0..255 to uint8, as stored and as subtracted in training."""
    return mean.round().astype(np.uint8)


def encode_mean_image(mean: np.ndarray) -> str:
    """Encode a mean image [3, S, S] in levels of 0..255 for `Preprocess.mean_image`."""
    stream = io.BytesIO()
    Image.fromarray(whole_levels(mean).transpose(1, 2, 0)).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


@contextmanager
def open_image(source: Source) -> Iterator[Image.Image]:
    """Open an image without decoding it, like `Image.open` but without its limit of pixels (see `scales_within`).

    Raises UserError for an array of another shape, and `identify`'s errors for files.
    """
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UserError(f"array is {source.dtype} {list(source.shape)}; pass uint8 [height, width, 3]")
        yield Image.fromarray(source)
    else:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            yield identify(stream)


def scales_within(image: Image.Image, limit: int = DECODE_LIMIT, *, whole: bool = False) -> list[int]:
    """Return the downscale factors of 1, 2, 4 and 8 whose decoded size fits in `limit` MB.

    Only JPEG files have factors above 1, and not if `whole`.

    Raises:
        UserError: No factor fits, or a side is outside 1 to MAX_SIDE.
    """
    width, height = image.size
    if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise UserError(f"{width}×{height} pixels: sides must have 1 to {MAX_SIDE:,}; remove the image")
    scales = (1,) if whole or image.format not in ("JPEG", "MPO") else (1, 2, 4, 8)
    # Pillow needs 4 bytes per pixel; for a progressive JPEG the decoder also holds all coefficients, 2 bytes each.
    held = 2 * len(image.getbands()) if "progressive" in image.info else 0
    takes = {scale: width * height * (4 / scale**2 + held) / 1e6 for scale in scales}
    if takes[scales[-1]] > limit:
        raise UserError(
            f"{width}×{height} pixels require {takes[scales[-1]]:,.0f} MB to decode, decode_limit is {limit}; "
            "raise it, or save the image smaller"
        )
    return [scale for scale in scales if takes[scale] <= limit]


def decode_at(image: Image.Image, scale: int) -> None:
    """Let Pillow decode a JPEG file at 1 / `scale` of its width and height, one of `scales_within`."""
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of 1 to 8, or 1 without a readable one."""
    with suppress(Exception):  # damaged EXIF may raise anything
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def to_rgb(image: Image.Image, *, turn: int = 1, background: Optional[str] = None) -> Image.Image:
    """Convert an image to 8-bit RGB, upright by its EXIF orientation `turn`.

    CMYK uses Pillow's formula without color profiles; 16-bit gray is divided by 257, which keeps white.

    Args:
        background: Color under a transparent image; None ignores transparency.

    Raises:
        ValueError: The pixels have 32 bits, so their white level is unknown.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif image.mode in ("La", "RGBa") or "transparency" in image.info:  # Pillow's only way to RGB
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if background and image.mode in ("LA", "PA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.load()
    return rgb.transpose(_TURNS[turn]) if turn in _TURNS else rgb


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert gray of 12 or 16 bits to 8 bits."""
    stored = str(getattr(image, "tile", ""))  # the file's pixel layout, before it is decoded
    if not image.mode.startswith("I;16") and image.format not in ("PNG", "PPM"):
        raise ValueError(f"the white level of mode {image.mode} is unknown, save it with 8 or 16 bits")
    white = 4095 if "I;12" in stored else 65535
    levels = np.asarray(image).astype(np.float32) * (255 / white)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is 0
        levels = 255 - levels
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


def _whole(width: int, height: int) -> Box:
    return (0, 0, width, height)


def _whole_pixels(image: Image.Image, box: Box) -> np.ndarray:
    """Return a part of an RGB image, rounded to whole pixels, as uint8 [H, W, 3]."""
    left, top, right, bottom = box
    x, y = round(left), round(top)
    return np.asarray(image)[y : y + max(1, round(bottom - top)), x : x + max(1, round(right - left))]


def _pixels(image: Image.Image, *, planar: bool) -> np.ndarray:
    """Return an RGB image as uint8 [H, W, 3], or [3, H, W] if `planar`; rows of channels copy fastest."""
    if not planar:
        return np.asarray(image)
    rows = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(image.height, 3, image.width)
    return rows.transpose(1, 0, 2)


def _central_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
