"""One image file, read and decoded once: what it is, what is wrong with it, how it looks."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from paddle_alexnet.data.findings import Finding
from paddle_alexnet.data.formats import suffix_fits
from paddle_alexnet.data.preprocess import decode_at, open_image, scales_within, to_rgb
from paddle_alexnet.datasets.inspect.duplicates import THUMBNAIL
from paddle_alexnet.system.errors import UserError

try:
    import simplejpeg
except ImportError:  # an extra; without it the data of JPEG files are not checked
    simplejpeg = None

CHECKS_JPEG = simplejpeg is not None
_LEAST_SIDE = 8  # pixels: of fewer a network sees nothing but a patch of colors
_LEAST_SPREAD = 2 / 255  # standard deviation of every channel: below it a picture shows nothing
_TURN = 0x0112  # EXIF's orientation
_BLOCK = 4096


class Photo(NamedTuple):
    """What one look at a file tells; beyond `notes` only what could be read, else empty.

    `notes` are findings without a line number. `levels` are the means of R, G, B, and of their squares, of 0..1
    values over all pixels. `thumbnail` is 16×16×3 bytes of the whole picture, `center` of all but 5 % at each side.
    """

    file: str
    notes: tuple[Finding, ...] = ()
    sha256: bytes = b""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    levels: tuple[float, ...] = ()
    thumbnail: bytes = b""
    center: bytes = b""


def look_at_all(root: Path, files: Sequence[str], *, workers: int) -> Iterator[Photo]:
    """A photo for each file below a folder, in their order; 3 KB each."""
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), _BLOCK):  # a million tasks at once would take gigabytes
            yield from pool.map(lambda file: look_at(root, file), files[start : start + _BLOCK])


def look_at(root: Path, file: str) -> Photo:
    """Read one image file. Whatever is wrong with it becomes a note; Pillow may warn."""
    photo = Photo(file)
    try:
        data = (root / file).read_bytes()
        photo = photo._replace(sha256=hashlib.sha256(data).digest())
        with open_image(data) as image:
            width, height = image.size
            try:
                decode_at(image, scales_within(image)[0])
            except UserError as error:
                return photo._replace(notes=(Finding("size", 0, file, str(error)),))
            deep = ";16" in str(getattr(image, "tile", "")) or image.mode in ("I", "F")
            rgb = to_rgb(image)
            notes = []
            with contextlib.suppress(Exception):  # broken EXIF or later frames do not spoil the picture
                for kind, detail in _oddities(image, Path(file).suffix, deep=deep):
                    notes.append(Finding(kind, 0, file, detail))
    except Exception as error:  # a broken file makes Pillow raise anything, struct.error and KeyError too
        return photo._replace(notes=(Finding(*_reason(error, file)),))
    levels = _levels(rgb)
    if min(width, height) < _LEAST_SIDE:
        notes.append(Finding("tiny", 0, file, f"{width}×{height} pixels"))
    elif _spread(levels) < _LEAST_SPREAD:
        notes.append(Finding("flat", 0, file, "one color all over"))
    if image.format in ("JPEG", "MPO"):
        notes += [Finding("damaged", 0, file, damage) for damage in _damage(data, image.mode)]
    edge = width * 0.05, height * 0.05
    center = (edge[0], edge[1], width - edge[0], height - edge[1])
    return photo._replace(
        notes=tuple(notes),
        format=image.format or "",
        mode=image.mode,
        width=width,
        height=height,
        levels=levels,
        thumbnail=rgb.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes(),
        center=rgb.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, box=center).tobytes(),
    )


def _damage(data: bytes, mode: str) -> Iterator[str]:
    """What is wrong with the data of a JPEG file, over which decoders go in silence."""
    if simplejpeg is not None:
        try:
            simplejpeg.decode_jpeg(data, "CMYK" if mode == "CMYK" else "GRAY", min_width=1, min_height=1, min_factor=8)
        except ValueError as error:
            yield f"damaged ({error})"


def _oddities(image: Image.Image, suffix: str, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Kind and detail of what training would take otherwise than a person sees it."""
    content = "JPEG" if image.format == "MPO" else image.format  # a camera's MPO is a JPEG with another behind it
    if not suffix_fits(suffix, content or ""):
        yield "extension", f"{content} by its content, named {suffix or 'without an extension'}"
    if image.mode == "CMYK":
        yield "cmyk", "CMYK: save it as RGB"
    if deep:
        yield "16-bit", f"more than 8 bits a channel, mode {image.mode}"
    if image.mode in ("P", "PA"):
        yield "palette", "palette: save it as RGB"
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        yield "alpha", "transparency"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and content != "JPEG":
        yield "animated", f"{frames} frames, of which training takes the first"
    turn = image.getexif().get(_TURN, 1)
    if turn != 1:
        yield "turned", f"EXIF orientation {turn}"


def _reason(error: Exception, file: str) -> tuple[str, int, str, str]:
    """The finding that an exception of Pillow's comes to."""
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated", 0, file, f"truncated ({text})"
    if isinstance(error, UnidentifiedImageError):
        text = "not an image"
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror  # without the path, which the finding names already
    return "unreadable", 0, file, f"unreadable ({text})"


def _levels(rgb: Image.Image) -> tuple[float, ...]:
    counts = np.array(rgb.histogram(), np.float64).reshape(3, 256) / (rgb.width * rgb.height)
    values = np.arange(256) / 255
    return (*(counts @ values).tolist(), *(counts @ values**2).tolist())


def _spread(levels: tuple[float, ...]) -> float:
    """The largest standard deviation of a channel."""
    mean, square = np.reshape(levels, (2, 3))
    return float(np.sqrt(np.maximum(square - mean**2, 0)).max())
