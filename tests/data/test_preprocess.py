"""From an image, in whichever form it comes, to the network's input."""

import contextlib
import io
import json
import os
import struct
import sys
import time
import types
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic import TypeAdapter
from rounding import PIXELS

from paddle_alexnet import UserError
from paddle_alexnet.data import preprocess as preprocess_module
from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.preprocess import Preprocess, encode_mean_image, open_image
from paddle_alexnet.data.statistics import Statistics

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUASH = Preprocess(32, MEAN, STD)
CROP = Preprocess(48, MEAN, STD, geometry="crop", resize=64)


def photo(width: int, height: int) -> Image.Image:
    """Something smooth with a different value everywhere."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * y - 2 * x), np.sin(9 * x * y)]
    return Image.fromarray((127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8))


@pytest.mark.parametrize("size", [(100, 80), (70, 130), (64, 64), (60, 40)])
def test_crop_is_the_center_of_the_image_whose_shorter_side_was_rescaled(tmp_path, size):
    """Section 2 of the paper, in its two steps."""
    photo(*size).save(tmp_path / "a.png")
    scale = 64 / min(size)
    width, height = (round(scale * side) for side in size)
    rescaled = np.asarray(photo(*size).resize((width, height), Image.Resampling.BILINEAR), int)
    top, left = (height - 64) // 2, (width - 64) // 2
    by_hand = rescaled[top : top + 64, left : left + 64]
    patch = CROP.patch(tmp_path / "a.png").astype(int)
    assert np.abs(patch - by_hand).mean() < 1.5  # half a pixel where a side is odd
    np.testing.assert_array_equal(CROP.pixels(tmp_path / "a.png"), patch[8:56, 8:56])


def test_squash_is_one_resize_and_what_it_was_before_there_was_a_choice(tmp_path):
    photo(100, 80).save(tmp_path / "a.png")
    plain = photo(100, 80).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SQUASH.pixels(tmp_path / "a.png"), np.asarray(plain))
    old = json.dumps({"image_size": 32, "mean": MEAN, "std": STD})
    assert TypeAdapter(Preprocess).validate_json(old) == SQUASH


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def widths(monkeypatch) -> list[int]:
    """The widths at which images are resized."""
    found: list[int] = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda image, *a, **k: found.append(image.width) or resize(image, *a, **k)
    )
    return found


def test_a_draft_of_a_large_jpeg_looks_the_same(widths):
    content = encoded(photo(1601, 1203), "JPEG", quality=95)
    full = SQUASH.patch(photo(1601, 1203)).astype(int)
    widths.clear()
    assert np.abs(replace(SQUASH, resize=64).patch(content) - full.repeat(2, 0).repeat(2, 1)).mean() < 8
    assert np.abs(SQUASH.patch(content) - full).mean() < 1.5  # a JPEG of quality 95 is off by about a level
    assert widths == [201, 201]  # an eighth, still more than twice 64


@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_preprocess_without_draft_is_bit_identical_to_pillow_s_resize(resample):
    """However large the file is, and turned as Pillow turns it: so that others can do the same."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo(1601, 1203), "JPEG", quality=95, exif=exif.tobytes())
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image.convert("RGB"))
    plain = upright.resize((32, 32), Image.Resampling[resample.upper()])
    preprocess = replace(SQUASH, draft=False, orientation="exif", resample=resample)
    np.testing.assert_array_equal(preprocess.pixels(content), np.asarray(plain))
    assert (
        preprocess.pixels(content)
        != replace(preprocess, resample="hamming" if resample == "box" else "box").pixels(content)
    ).any()


def test_a_jpeg_beyond_the_limit_is_decoded_at_a_fraction_and_what_cannot_be_is_refused(widths):
    """800,000 pixels take 3.2 MB, a quarter of them 0.8."""
    full = replace(SQUASH, draft=False)
    image = photo(1000, 800)
    tight = replace(full, decode_limit=1)
    assert np.abs(tight(encoded(image, "JPEG", quality=95)).astype(int) - full(image)).mean() < 1.5
    assert widths == [500, 1000]
    for source in (encoded(image, "PNG"), np.asarray(image), image):
        with pytest.raises(UserError, match=r"1000×800 pixels require 3 MB to decode, decode_limit is 1; raise it"):
            tight(source)
    progressive = encoded(image, "JPEG", progressive=True)
    with pytest.raises(UserError, match="require 5 MB"):  # 2 bytes for each of three coefficients, at any scale
        replace(full, decode_limit=4)(progressive)
    assert replace(full, decode_limit=6)(progressive).any() and widths[-1] == 500


def deep_tiff(levels: np.ndarray, *, bits: int, white: int) -> bytes:
    """A gray TIFF of 12 or 16 bits, in which white is the level 0 (as on negatives) or the highest."""
    height, width = levels.shape
    if bits == 16:
        data = levels.astype("<u2").tobytes()
    else:  # two pixels in three bytes
        data = b"".join(((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in levels.reshape(-1, 2))
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, int(white > 0)),
        (273, 8),
        (277, 1),
        (278, height),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(data))])
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", 9) + directory + bytes(4)


LEVELS = (np.arange(32 * 32).reshape(32, 32) // 4).astype(np.uint16)  # 0 to 255
DEEP = {
    "16-bit PNG": encoded(Image.fromarray(LEVELS * 257), "PNG"),
    "16-bit TIFF": encoded(Image.fromarray(LEVELS * 257), "TIFF"),
    "16-bit TIFF, big endian": encoded(Image.fromarray((LEVELS * 257).astype(">u2")), "TIFF"),
    "16-bit TIFF, white is 0": deep_tiff(65535 - LEVELS * 257, bits=16, white=0),
    "12-bit TIFF": deep_tiff(np.round(LEVELS * (4095 / 255)).astype(int), bits=12, white=4095),
    "16-bit PGM": encoded(Image.fromarray(LEVELS * 257), "PPM"),
    "10-bit PGM": b"P5 32 32 1020 " + (LEVELS * 4).astype(">u2").tobytes(),
    "16-bit JPEG 2000": encoded(Image.fromarray(LEVELS * 257), "JPEG2000"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_gray_is_the_same_picture_in_8_bits(name):
    np.testing.assert_array_equal(SQUASH.pixels(DEEP[name]), np.stack([LEVELS] * 3, axis=-1))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_whose_white_is_not_known_are_refused(mode):
    image = Image.fromarray(LEVELS.astype({"I": np.int32, "F": np.float32}[mode]))
    for source in (image, encoded(image, "TIFF")):
        with pytest.raises(UserError, match=f"mode {mode} is unknown, save it with 8 or 16 bits"):
            SQUASH.pixels(source)


ORANGE = (240, 130, 20)
# The modes of Pillow's images but for deep ones: how it gets there from RGB, and what becomes of orange.
MODES = {
    "RGB": ([], ORANGE),
    "RGBA": (["RGBA"], ORANGE),
    "RGBa": (["RGBA", "RGBa"], ORANGE),
    "P": ([], ORANGE),
    "CMYK": (["CMYK"], ORANGE),
    "YCbCr": (["YCbCr"], ORANGE),
    "HSV": (["HSV"], ORANGE),
    "L": (["L"], (150,) * 3),
    "LA": (["LA"], (150,) * 3),
    "La": (["LA", "La"], (150,) * 3),
    "1": (["L", "1"], (255,) * 3),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    steps, expected = MODES[mode]
    image = Image.new("RGB", (40, 30), ORANGE)
    if mode == "P":
        image = image.quantize(2)
    for step in steps:
        image = image.convert(step, dither=Image.Dither.NONE)
    assert image.mode == mode
    sources: list[Any] = [image]
    for kind in ("PNG", "TIFF"):
        with contextlib.suppress(OSError, KeyError):  # a mode that the format has not
            sources.append(encoded(image, kind))
    for source in sources:
        # In levels: up to two conversions round, and the rescaling does.
        assert np.abs(SQUASH.pixels(source).astype(int) - expected).max() <= 3


def test_transparency_is_dropped_and_the_colors_below_it_stay():
    pixels = np.full((30, 40, 4), (*ORANGE, 0), np.uint8)
    palette = Image.new("P", (40, 30), 1)
    palette.putpalette([0, 0, 0, *ORANGE])
    for content in (
        encoded(Image.fromarray(pixels), "PNG"),
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "PNG", transparency=b"\0\7"),
        encoded(Image.new("RGB", (40, 30), ORANGE), "PNG", transparency=ORANGE),
    ):
        assert (SQUASH.pixels(content) == ORANGE).all()


def test_a_file_in_another_format_is_no_image_and_starts_nothing(tmp_path, monkeypatch):
    """For PostScript, Pillow would start what is called gs in the PATH."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n")
    for content in (encoded(Image.new("RGB", (9, 9)), "ICO"), encoded(Image.new("RGB", (9, 9)), "TGA")):
        with pytest.raises(UserError, match="not an image"):
            SQUASH.pixels(content)
    with pytest.raises(UserError, match=r"a\.jpg: unreadable image \(not an image\)"):
        SQUASH.pixels(tmp_path / "a.jpg")
    assert not (tmp_path / "started").exists()


def test_a_file_is_closed_after_it_was_read_or_refused(tmp_path):
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("no /proc")
    photo(40, 30).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no")
    before = len(list(open_files.iterdir()))
    with open_image(tmp_path / "a.png") as image:
        assert image.size == (40, 30) and len(list(open_files.iterdir())) == before + 1
    SQUASH.pixels(tmp_path / "a.png")
    with pytest.raises(UserError):
        SQUASH.pixels(tmp_path / "b.png")
    assert len(list(open_files.iterdir())) == before


@pytest.mark.parametrize("preprocess", [SQUASH, CROP])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_path_bytes_picture_and_pixels_are_the_same_image(tmp_path, preprocess, name):
    path = tmp_path / name
    photo(100, 80).save(path)
    expected = preprocess.pixels(path)
    assert expected.shape == (preprocess.image_size,) * 2 + (3,) and expected.dtype == np.uint8
    with Image.open(path) as picture:
        for source in (str(path), path.read_bytes(), picture, np.asarray(picture)):
            np.testing.assert_array_equal(preprocess.pixels(source), expected)
        assert picture.getpixel((99, 79)), "a caller's picture is left open"


@pytest.mark.parametrize(
    "source", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), b"no", b""]
)
def test_preprocess_of_a_source_that_is_no_image_raises(source):
    with pytest.raises(UserError, match="the image"):
        SQUASH.pixels(source)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_where_that_is_asked_for(tmp_path, orientation):
    """Held against Pillow's own transposition, at full size and where a JPEG is decoded at a fraction."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for size in ((100, 60), (1300, 900)):
        photo(*size).save(tmp_path / "a.jpg", quality=95, exif=exif.tobytes())
        with Image.open(tmp_path / "a.jpg") as image:
            upright = ImageOps.exif_transpose(image)
        for preprocess in (SQUASH, CROP):
            turned = replace(preprocess, orientation="exif").pixels(tmp_path / "a.jpg").astype(int)
            assert np.abs(turned - preprocess.pixels(upright)).mean() < 1.5
            assert (turned == preprocess.pixels(tmp_path / "a.jpg")).all() == (orientation == 1)


def test_broken_exif_does_not_spoil_a_picture(tmp_path, monkeypatch):
    photo(100, 60).save(tmp_path / "a.jpg")
    expected = SQUASH.pixels(tmp_path / "a.jpg")
    monkeypatch.setattr(Image.Image, "getexif", lambda image: 1 / 0)
    np.testing.assert_array_equal(replace(SQUASH, orientation="exif").pixels(tmp_path / "a.jpg"), expected)


def test_mean_image_is_subtracted_pixel_by_pixel(train_set: PatchDataset, statistics: Statistics):
    mean = statistics.mean_image[:, 8:56, 8:56]
    pixel = replace(CROP, mean_image=encode_mean_image(mean))
    image = CROP.pixels(train_set.path(0))
    expected = (image.transpose(2, 0, 1) - mean.round()) / 255 / np.array(STD)[:, None, None]
    np.testing.assert_allclose(pixel.batch(image[None])[0], expected, atol=PIXELS)
    assert TypeAdapter(Preprocess).validate_json(TypeAdapter(Preprocess).dump_json(pixel)) == pixel


def png(width: int, height: int) -> bytes:
    """A PNG that says it has these sides, with hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (png(100_000, 1), "100000×1 pixels"),
        (png(1, 100_000), "1×100000 pixels"),
        (png(0, 5), "unreadable"),
        (b"GIF89a" + bytes(7) + b"," + bytes(9) + b";", "a.png"),
        (png(15_000, 10_000), "require 600 MB to decode, decode_limit is 512"),
        (png(60_000, 60_000), "decode_limit"),
        (b"", "not an image"),
    ],
)
def test_bombs_and_impossible_sides_are_refused_before_they_are_decoded(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(UserError, match=words) as error:
        SQUASH.pixels(tmp_path / "a.png")
    assert str(tmp_path / "a.png") in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - started < 1


JPEGS = {
    "4:4:4": {"subsampling": "4:4:4", "quality": 95},
    "4:2:2": {"subsampling": "4:2:2", "quality": 80},
    "4:2:0": {"subsampling": "4:2:0", "quality": 50},
    "progressive": {"progressive": True},
    "RGB": {"keep_rgb": True},
}


@pytest.mark.parametrize("size", [(100, 80), (71, 133)])
@pytest.mark.parametrize("kind", JPEGS)
def test_simplejpeg_s_pixels_are_pillow_s_to_the_bit(kind, size):
    pytest.importorskip("simplejpeg")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo(*size), "JPEG", exif=exif, **JPEGS[kind])
    plain = replace(CROP, orientation="exif", draft=False)
    np.testing.assert_array_equal(plain.decoded_by("simplejpeg").patch(content), plain.patch(content))


def test_simplejpeg_decodes_jpeg_files_in_color_alone_and_only_in_full(monkeypatch, tmp_path):
    decoded = []

    def decode_jpeg(data, colorspace, strict):
        decoded.append(len(data))
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert(colorspace))

    monkeypatch.setitem(sys.modules, "simplejpeg", types.SimpleNamespace(decode_jpeg=decode_jpeg, __spec__=True))
    fast = CROP.decoded_by("simplejpeg")
    assert CROP.decoded_by("pillow") is CROP
    jpeg = encoded(photo(90, 70), "JPEG")
    (tmp_path / "a.jpg").write_bytes(jpeg)
    for source in (jpeg, tmp_path / "a.jpg"):
        np.testing.assert_array_equal(fast.patch(source), CROP.patch(source))
    assert decoded == [len(jpeg)] * 2
    others = [
        encoded(photo(90, 70), "PNG"),
        encoded(photo(90, 70).convert("L"), "JPEG"),
        encoded(photo(90, 70).convert("CMYK"), "JPEG"),
        encoded(photo(900, 700), "JPEG"),  # a draft
        photo(90, 70),
        np.asarray(photo(90, 70)),
    ]
    for source in others:
        np.testing.assert_array_equal(fast.patch(source), CROP.patch(source))
    assert len(decoded) == 2
    small = replace(CROP, draft=False, decode_limit=1).decoded_by("simplejpeg")
    small.patch(others[3])
    assert len(decoded) == 2, "of 2.5 MB in full, with a limit of 1"


def test_simplejpeg_says_of_damage_what_it_is():
    pytest.importorskip("simplejpeg")
    content = bytearray(encoded(photo(300, 200), "JPEG", quality=95))
    middle = len(content) // 2
    content[middle : middle + 40] = b"\xff\xd0" * 20  # restarts where there are none
    CROP.patch(bytes(content))  # Pillow goes on
    with pytest.raises(UserError, match="the image: unreadable image"):
        replace(CROP, draft=False).decoded_by("simplejpeg").patch(bytes(content))


def test_a_decoder_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(preprocess_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'simplejpeg.*"paddle-alexnet\[fast\]", or use data.decoder'):
        CROP.decoded_by("simplejpeg")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_planes_are_of_the_same_pixels(mode):
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image, preprocess = Image.fromarray(noise).convert(mode), Preprocess(33, (0.5,) * 3, (0.2,) * 3, geometry="crop")
    part = lambda width, height: (3.5, 1, width / 2, height)  # noqa: E731
    for whole, planes in (
        (preprocess.patch(image), preprocess.patch(image, planar=True)),
        (preprocess.cut(image, part), preprocess.cut(image, part, planar=True)),
    ):
        assert planes.shape == (3, 33, 33)
        assert np.array_equal(planes, whole.transpose(2, 0, 1))


@pytest.mark.parametrize("geometry", ["squash", "crop", "torchvision", "paddleclas"])
@pytest.mark.parametrize("size", [(640, 427), (333, 500)])
def test_visible_region_is_the_region_that_the_pixels_come_from(geometry, size):
    """An image whose red is its column and whose green is its row."""
    width, height = size
    rows, columns = np.indices((height, width)) + 0.5
    pixels = np.stack([255 * columns / width, 255 * rows / height, 0 * rows], axis=-1).round().astype(np.uint8)
    found = Preprocess(64, (0.5,) * 3, (0.5,) * 3, geometry=geometry, resize=90)
    left, top, right, bottom = found.seen(width, height)
    seen = found.pixels(pixels).astype(float)
    middles = (np.arange(64) + 0.5) / 64
    np.testing.assert_allclose(seen[32, :, 0], 255 * (left + (right - left) * middles) / width, atol=1.5)  # of rounding
    np.testing.assert_allclose(seen[:, 32, 1], 255 * (top + (bottom - top) * middles) / height, atol=1.5)
