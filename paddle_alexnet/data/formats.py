"""Image file formats: the supported ones, and their detection by content."""

import io
import struct
from contextlib import suppress
from importlib.util import find_spec
from types import FunctionType
from typing import IO, Optional

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from paddle_alexnet.system.errors import UserError

# Pillow's names; JPEG includes MPO. Pillow's other formats are not images or start programs (PostScript).
IMAGE_FORMATS = ["JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000"]
if find_spec("PIL.AvifImagePlugin"):  # since Pillow 11.3
    IMAGE_FORMATS.append("AVIF")
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .bmp .dib .webp .tif .tiff .gif .ppm .pgm .pbm .pnm .avif .jp2 .j2k".split()
)
HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
HEIC_REMEDY = 'pip install "paddle-alexnet[heic]"'
if find_spec("pillow_heif"):
    IMAGE_SUFFIXES |= HEIC_SUFFIXES
_HEIC_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
_PIXEL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # ancillary chunks of PNG that change pixels
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_JPEG_METADATA = (0xE0, 0xE2, 0xED)  # JFIF, profiles, Photoshop's
_END_OF_JPEG = b"\xff\xd9"


def identify(stream: IO[bytes]) -> Image.Image:
    """Open an image file by its content without decoding it.

    Raises:
        UnidentifiedImageError: The content is in none of IMAGE_FORMATS.
        UserError: HEIC requires pillow-heif.
        Exception: Pillow's error for a damaged file.
    """
    Image.init()
    prefix = stream.read(16)
    image = _by_content(stream, prefix)
    if image is None and prefix.startswith(b"\xff\xd8\xff"):  # a JPEG file that Pillow refuses
        image = _by_content(_without_segments(stream), prefix)
    if image is not None:
        return image
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIC_BRANDS:
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            raise UserError(f"HEIC requires pillow-heif; {HEIC_REMEDY}, or save the image as JPEG") from None
        stream.seek(0)
        return HeifImageFile(stream, "")  # not registered with Pillow, which would change the whole process
    raise UnidentifiedImageError("cannot identify image file")


def _by_content(stream: IO[bytes], prefix: bytes) -> Optional[Image.Image]:
    for name in IMAGE_FORMATS:
        factory, accept = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a plugin's signs of another format
            known = accept is None or accept(prefix)
            if known and not isinstance(known, str):  # a string names what Pillow lacks for the format
                stream.seek(0)
                return factory(_without_refused_chunks(stream) if name == "PNG" else stream, "")
    return None


def suffix_fits(suffix: str, image_format: str) -> bool:
    """Return whether a file suffix belongs to Pillow's `image_format`."""
    if image_format == "HEIF":
        return suffix.lower() in HEIC_SUFFIXES
    return Image.registered_extensions().get(suffix.lower()) == image_format


def load_truncated(image: Image.Image) -> None:
    """Decode an opened, truncated file as Pillow does with `LOAD_TRUNCATED_IMAGES`, which is global to the process."""
    if not isinstance(image, ImageFile.ImageFile):
        return
    if image.format in ("JPEG", "MPO"):
        read, end = image.load_read, [_END_OF_JPEG]  # type: ignore[attr-defined]
        image.load_read = lambda size: read(size) or (end.pop() if end else b"")  # type: ignore[attr-defined]
    if type(image).load is _load or getattr(image, "use_load_libtiff", None) is False:  # other formats override it
        _LOAD_TRUNCATED(image)
    image.load()


# A copy of Pillow's function whose globals have another value of the setting.
_load = ImageFile.ImageFile.load
_LOAD_TRUNCATED = FunctionType(
    _load.__code__, {**vars(ImageFile), "LOAD_TRUNCATED_IMAGES": True}, closure=_load.__closure__
)


def _without_segments(stream: IO[bytes]) -> IO[bytes]:
    """Return a JPEG file without metadata segments, which Pillow refuses if they are too short.

    EXIF (the orientation) and Adobe's color transform remain.
    """
    stream.seek(0)
    content, kept = stream.read(), [b"\xff\xd8"]
    place = 2
    while (head := content[place : place + 4])[:1] == b"\xff" and head[1:2] != b"\xda" and len(head) == 4:
        end = place + 2 + int.from_bytes(head[2:], "big")
        refused = head[1] in _JPEG_METADATA or (head[1] == 0xEE and end - place < 16)
        kept += [] if refused else [content[place:end]]
        place = end
    return io.BytesIO(b"".join((*kept, content[place:])))


def _without_refused_chunks(stream: IO[bytes]) -> IO[bytes]:
    """Return a PNG file without metadata that Pillow refuses: damaged, over 1 MB of text per chunk or 64 MB in all."""
    stream.seek(8)
    judge, kept, end, refused = PngImagePlugin.PngStream(stream), [(0, 8)], 8, False
    try:
        kind = b""
        while kind != b"IEND":
            kind, start, length = judge.read()
            optional = kind[0] & 0x20 and kind not in _PIXEL_CHUNKS
            if optional and not _takes(judge, kind, start, length):
                refused = True
            else:
                kept.append((start - 8, start + length + 4))
            end = stream.seek(start + length + 4)
    except Exception:  # damaged: Pillow judges the unchanged rest
        kept.append((end, max(end, stream.seek(0, io.SEEK_END))))
    stream.seek(0)
    if not refused:
        return stream
    content = io.BytesIO()
    for start, end in kept:
        stream.seek(start)
        content.write(stream.read(end - start))
    content.seek(0)
    return content


def _takes(judge: PngImagePlugin.PngStream, kind: bytes, start: int, length: int) -> bool:
    """Return whether Pillow accepts a chunk; text only up to Pillow's total."""
    if kind in _TEXT_CHUNKS and judge.text_memory > PngImagePlugin.MAX_TEXT_MEMORY:
        return False
    try:
        try:
            data = judge.call(kind, start, length)
        except AttributeError:  # unknown to Pillow
            data = ImageFile._safe_read(judge.fp, length)  # type: ignore[arg-type]
        judge.crc(kind, data)
    except Exception:
        return False
    finally:
        judge.im_info.clear()
        judge.im_text.clear()
    return True
