"""The content, faults and thumbnails of an image file, read and decoded once."""

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
except ImportError:  # an extra, without which the data of JPEG files are not checked
    simplejpeg = None

CHECKS_JPEG = simplejpeg is not None
_LEAST_SIDE = 8  # pixels
_LEAST_SPREAD = 2 / 255  # standard deviation below which a channel is flat
_TURN = 0x0112  # EXIF orientation
_BLOCK = 4096


class Photo(NamedTuple):
    """An image file's properties; unreadable ones stay empty."""

    file: str
    notes: tuple[Finding, ...] = ()  # without line numbers
    sha256: bytes = b""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    levels: tuple[float, ...] = ()  # means of R, G, B in 0..1 over all pixels, then of their squares
    thumbnail: bytes = b""  # 16×16×3
    center: bytes = b""  # the same without 5 % at each side


def look_at_all(root: Path, files: Sequence[str], *, workers: int) -> Iterator[Photo]:
    """Yield a photo for each file below a folder in order, 3 KB each."""
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), _BLOCK):  # a million pending tasks would take gigabytes
            yield from pool.map(lambda file: look_at(root, file), files[start : start + _BLOCK])


def look_at(root: Path, file: str) -> Photo:
    """Read one image file; faults become notes. Pillow may warn."""
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
            with contextlib.suppress(Exception):  # damaged EXIF or later frames are harmless
                for kind, detail in _oddities(image, Path(file).suffix, deep=deep):
                    notes.append(Finding(kind, 0, file, detail))
    except Exception as error:  # a damaged file may raise anything
        return photo._replace(notes=(Finding(*_reason(error, file)),))
    levels = _levels(rgb)
    if min(width, height) < _LEAST_SIDE:
        notes.append(Finding("tiny", 0, file, f"{width}×{height} pixels"))
    elif _spread(levels) < _LEAST_SPREAD:
        notes.append(Finding("flat", 0, file, "a single color"))
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
    """Yield damage of a JPEG file that Pillow ignores."""
    if simplejpeg is not None:
        try:
            simplejpeg.decode_jpeg(data, "CMYK" if mode == "CMYK" else "GRAY", min_width=1, min_height=1, min_factor=8)
        except ValueError as error:
            yield f"damaged ({error})"


def _oddities(image: Image.Image, suffix: str, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield kind and detail of properties that look different in training."""
    content = "JPEG" if image.format == "MPO" else image.format  # MPO is a JPEG followed by another
    if not suffix_fits(suffix, content or ""):
        yield "extension", f"{content} by its content, named {suffix or 'without an extension'}"
    if image.mode == "CMYK":
        yield "cmyk", "CMYK; save it as RGB"
    if deep:
        yield "16-bit", f"more than 8 bits per channel, mode {image.mode}"
    if image.mode in ("P", "PA"):
        yield "palette", "palette; save it as RGB"
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        yield "alpha", "transparency"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and content != "JPEG":
        yield "animated", f"{frames} frames; training uses the first"
    turn = image.getexif().get(_TURN, 1)
    if turn != 1:
        yield "turned", f"EXIF orientation {turn}"


def _reason(error: Exception, file: str) -> tuple[str, int, str, str]:
    """Return the finding for one of Pillow's exceptions."""
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated", 0, file, f"truncated ({text})"
    if isinstance(error, UnidentifiedImageError):
        text = "not an image"
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror  # without the path, which the finding names
    return "unreadable", 0, file, f"unreadable ({text})"


def _levels(rgb: Image.Image) -> tuple[float, ...]:
    counts = np.array(rgb.histogram(), np.float64).reshape(3, 256) / (rgb.width * rgb.height)
    values = np.arange(256) / 255
    return (*(counts @ values).tolist(), *(counts @ values**2).tolist())


def _spread(levels: tuple[float, ...]) -> float:
    """Return the largest standard deviation of a channel."""
    mean, square = np.reshape(levels, (2, 3))
    return float(np.sqrt(np.maximum(square - mean**2, 0)).max())
