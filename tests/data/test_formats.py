"""Files with metadata that Pillow refuses, files that end too early, transparency, and HEIC."""

import contextlib
import io
import os
import struct
import sys
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile

from paddle_alexnet import UserError
from paddle_alexnet.data import formats
from paddle_alexnet.data.preprocess import Preprocess, open_image

SQUASH = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), draft=False)
ACCEPT = replace(SQUASH, truncated="accept")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)


def encoded(image_format: str, image: "Image.Image | None" = None, **options) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(stream, image_format, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes, *, crc: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ crc)


XMP = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * 3_000_000)
REFUSED = {
    "text of 3 MB": chunk(b"iTXt", XMP),
    "packed text of 3 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)),
    "66 MB of text": chunk(b"tEXt", b"Comment\0" + b"x" * 66_000_000),
    "70 texts of 1 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 1_000_000)) * 70,
    "a profile of 2 MB": chunk(b"iCCP", b"printer\0\0" + zlib.compress(os.urandom(2_000_000))),
    "a profile packed otherwise": chunk(b"iCCP", b"printer\0\1" + zlib.compress(b"x")),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0x", crc=1),
    "a wrong checksum of an unknown chunk": chunk(b"prVt", b"x", crc=1),
    "short resolution": chunk(b"pHYs", b"\0\0"),
    "short chromaticities": chunk(b"cHRM", b"\0\0"),
}


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("name", REFUSED)
def test_metadata_of_a_png_do_not_spoil_it(name, where):
    png = encoded("PNG")
    place = 33 if where == "before" else -12  # behind IHDR, before IEND
    content = png[:place] + REFUSED[name] + png[place:]
    np.testing.assert_array_equal(SQUASH.pixels(content), SQUASH.pixels(png))


def test_exif_behind_refused_text_still_turns_an_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    png = encoded("PNG", exif=exif)
    turned = replace(SQUASH, orientation="exif")
    content = png[:33] + REFUSED["text of 3 MB"] + png[33:]
    np.testing.assert_array_equal(turned.pixels(content), turned.pixels(png))
    assert (turned.pixels(content) != SQUASH.pixels(content)).any()


@pytest.mark.parametrize("kind", [b"IDAT", b"tRNS"])
def test_damage_of_what_makes_pixels_is_still_damage(kind):
    png = encoded("PNG", Image.new("P", (40, 30)), transparency=b"\0")
    place = png.index(kind) + 4 + 1
    with pytest.raises(UserError, match="unreadable image"):
        SQUASH.pixels(png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :])


@pytest.mark.parametrize(
    "kind",
    [(0xE0, b"JFIF\0\7"), (0xE2, b"ICC_PROFILE\0"), (0xED, b"Photoshop 3.0\x008BIM\x80\x15"), (0xEE, b"Adobe\0")],
)
def test_short_metadata_of_a_jpeg_do_not_spoil_it(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg, (marker, data) = encoded("JPEG", exif=exif), kind
    content = jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]
    turned = replace(SQUASH, orientation="exif")
    np.testing.assert_array_equal(turned.pixels(content), turned.pixels(jpeg))
    for place in range(2, len(content), 37):  # cut anywhere, it is an image or an error
        with contextlib.suppress(UserError):
            ACCEPT.pixels(content[:place])


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_large_metadata_of_other_formats_do_not_spoil_an_image(image_format):
    if image_format == "AVIF" and image_format not in formats.IMAGE_FORMATS:
        pytest.skip("needs Pillow 11.3")
    content = encoded(image_format, icc_profile=os.urandom(3_000_000), quality=90)
    np.testing.assert_array_equal(SQUASH.pixels(content), SQUASH.pixels(encoded(image_format, quality=90)))


def test_a_jpeg_without_its_last_two_bytes_is_whole_where_that_is_accepted():
    jpeg = encoded("JPEG", quality=90)
    with pytest.raises(UserError, match=r"unreadable image \(image file is truncated.*set truncated to accept"):
        SQUASH.pixels(jpeg[:-2])
    np.testing.assert_array_equal(ACCEPT.pixels(jpeg[:-2]), SQUASH.pixels(jpeg))


@pytest.mark.parametrize(
    "image_format, options",
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("PPM", {}), ("TIFF", {})],
)
def test_truncated_image_if_accepted_has_the_pixels_that_pillow_decodes(image_format, options, monkeypatch):
    content = encoded(image_format, **options)
    content = content[: len(content) * 2 // 3]
    with pytest.raises(UserError, match="unreadable image"):
        SQUASH.pixels(content)
    found = ACCEPT.pixels(content)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(found, SQUASH.pixels(content))


def test_accepting_in_one_thread_changes_nothing_in_another():
    jpeg, png = encoded("JPEG")[:-200], encoded("PNG")[:-200]
    done = threading.Event()

    def accept() -> None:
        while not done.is_set():
            ACCEPT.pixels(jpeg), ACCEPT.pixels(png)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        for content in (jpeg, png) * 50:
            with pytest.raises(UserError):
                SQUASH.pixels(content)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("part", [-2, -500])
def test_simplejpeg_takes_the_same_of_a_truncated_file(part):
    pytest.importorskip("simplejpeg")
    content = encoded("JPEG", quality=90)[:part]
    np.testing.assert_array_equal(ACCEPT.decoded_by("simplejpeg").pixels(content), ACCEPT.pixels(content))
    with pytest.raises(UserError, match="unreadable"):
        SQUASH.decoded_by("simplejpeg").pixels(content)


def test_transparent_images_are_laid_over_the_background():
    half = np.full((30, 40, 4), (200, 100, 0, 51), np.uint8)  # a fifth opaque
    palette = Image.new("P", (40, 30), 1)
    palette.putpalette([0, 0, 0, 200, 100, 0])
    over = replace(SQUASH, background="#ffffff")
    assert (over.pixels(encoded("PNG", Image.fromarray(half))) == (244, 224, 204)).all()
    assert (over.pixels(Image.fromarray(half)) == (244, 224, 204)).all()
    assert (over.pixels(encoded("PNG", palette, transparency=1)) == 255).all()
    assert (over.pixels(encoded("PNG", Image.new("LA", (40, 30), (10, 0)))) == 255).all()
    assert (over.pixels(encoded("PNG", Image.new("RGB", (40, 30), (1, 2, 3)), transparency=(1, 2, 3))) == 255).all()
    np.testing.assert_array_equal(over.pixels(encoded("PNG")), SQUASH.pixels(encoded("PNG")))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_reader_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r'HEIC requires pillow-heif; pip install "paddle-alexnet\[heic\]"'):
        SQUASH.pixels(HEIC)


def test_heic_is_read():
    pillow_heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    smooth = Image.fromarray(np.tile(np.linspace(0, 255, 80, dtype=np.uint8)[None, :, None], (64, 1, 3)))
    pillow_heif.from_pillow(smooth).save(stream, quality=95)
    with open_image(stream.getvalue()) as image:
        assert (image.format, image.size) == ("HEIF", (80, 64))
    np.testing.assert_allclose(SQUASH.pixels(stream.getvalue()).astype(int), SQUASH.pixels(smooth).astype(int), atol=8)
    assert ".heic" in formats.IMAGE_SUFFIXES
    assert ".heic" not in Image.registered_extensions(), "Pillow's own formats stay as they are"
