"""Images of strangers: decoded, or refused with a status and a reason."""

import base64
import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.service.decoders import decode, from_base64
from paddle_alexnet.service.limits import Refused

PREPROCESS = Preprocess(20, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def file_of(form, size=(40, 30), mode="RGB"):
    stream = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(stream, form)
    return stream.getvalue()


def png_that_claims(width, height):
    """A small PNG whose header claims many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_decode_gives_the_pixels_of_prediction(form):
    content = file_of(form)
    np.testing.assert_array_equal(decode(content, PREPROCESS, megapixels=1), PREPROCESS.pixels(content))


@pytest.mark.parametrize(
    "content, status, reason",
    [
        (b"", 415, "not an image"),
        (b"%PDF-1.7", 415, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not an image"),
        (png_that_claims(1200, 1000), 413, "1200×1000 pixels exceed the limit of 1 megapixels"),
        (png_that_claims(2**31 - 1, 2**31 - 1), 413, "limit of 1 megapixels"),
        (png_that_claims(800, 800), 422, "unreadable image"),
        (file_of("JPEG")[:-99], 422, "truncated"),
        (file_of("JPEG")[:400], 422, "damaged"),
        (file_of("PNG")[:20], (415, 422), ""),
    ],
    ids=range(10),
)
def test_anything_else_is_refused(content, status, reason):
    with pytest.raises(Refused) as refusal:
        decode(content, PREPROCESS, megapixels=1)
    assert refusal.value.status in (status if isinstance(status, tuple) else (status,))
    assert reason in refusal.value.reason
    assert "\n" not in refusal.value.reason and "replace it" not in refusal.value.reason


def test_heic_without_its_reader_is_a_format_that_is_not_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Refused, match="HEIC requires pillow-heif") as refused:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", PREPROCESS, megapixels=1)
    assert refused.value.status == 415


def test_base64_may_be_a_data_uri_and_must_be_base64():
    text = base64.b64encode(b"\x00\xff?").decode()
    assert from_base64(text) == from_base64(f"data:image/png;base64,{text}") == b"\x00\xff?"
    for bad in ("AAA", "%%%%", "äöü!", "AA AA"):
        with pytest.raises(Refused, match="not base64"):
            from_base64(bad)
