"""From an image, in whichever form it comes, to the network's input."""

import json
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic import TypeAdapter

from paddle_alexnet import UserError
from paddle_alexnet.data.dataset import LabelledImages
from paddle_alexnet.data.preprocess import Preprocess, decode, encode_mean_image
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
def test_crop_is_the_centre_of_the_image_whose_shorter_side_was_rescaled(tmp_path, size):
    """Section 2 of the paper, in its two steps."""
    photo(*size).save(tmp_path / "a.png")
    scale = 64 / min(size)
    width, height = (round(scale * side) for side in size)
    rescaled = np.asarray(photo(*size).resize((width, height), Image.Resampling.BILINEAR), int)
    top, left = (height - 64) // 2, (width - 64) // 2
    by_hand = rescaled[top : top + 64, left : left + 64]
    patch = CROP.patch(tmp_path / "a.png").astype(int)
    assert np.abs(patch - by_hand).mean() < 1.5  # half a pixel where a side is odd
    np.testing.assert_array_equal(CROP(tmp_path / "a.png"), patch[8:56, 8:56])


def test_squash_is_one_resize_and_what_it_was_before_there_was_a_choice(tmp_path):
    photo(100, 80).save(tmp_path / "a.png")
    plain = photo(100, 80).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SQUASH(tmp_path / "a.png"), np.asarray(plain))
    old = json.dumps({"image_size": 32, "mean": MEAN, "std": STD})
    assert TypeAdapter(Preprocess).validate_json(old) == SQUASH


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path, monkeypatch):
    photo(1601, 1203).save(tmp_path / "a.jpg", quality=95)
    full = np.asarray(photo(1601, 1203).resize((64, 64), Image.Resampling.BILINEAR), int)
    widths = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: widths.append(image.width) or convert(image, mode))
    assert np.abs(decode(tmp_path / "a.jpg", 64, lambda width, height: (0, 0, width, height)) - full).mean() < 1.5
    assert widths == [201]  # an eighth, still more than twice 64


@pytest.mark.parametrize("preprocess", [SQUASH, CROP])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_path_bytes_picture_and_pixels_are_the_same_image(tmp_path, preprocess, name):
    path = tmp_path / name
    photo(100, 80).save(path)
    expected = preprocess(path)
    assert expected.shape == (preprocess.image_size,) * 2 + (3,) and expected.dtype == np.uint8
    with Image.open(path) as picture:
        for source in (str(path), path.read_bytes(), picture, np.asarray(picture)):
            np.testing.assert_array_equal(preprocess(source), expected)
        assert picture.getpixel((99, 79)), "a caller's picture is left open"


@pytest.mark.parametrize(
    "source", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), b"no", b""]
)
def test_what_is_no_image_is_one_line(source):
    with pytest.raises(UserError, match="the image"):
        SQUASH(source)


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
            turned = replace(preprocess, orientation="exif")(tmp_path / "a.jpg").astype(int)
            assert np.abs(turned - preprocess(upright)).mean() < 1.5
            assert (turned == preprocess(tmp_path / "a.jpg")).all() == (orientation == 1)


def test_broken_exif_does_not_spoil_a_picture(tmp_path, monkeypatch):
    photo(100, 60).save(tmp_path / "a.jpg")
    expected = SQUASH(tmp_path / "a.jpg")
    monkeypatch.setattr(Image.Image, "getexif", lambda image: 1 / 0)
    np.testing.assert_array_equal(replace(SQUASH, orientation="exif")(tmp_path / "a.jpg"), expected)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK", "LA", "1"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (50, 40)).save(path)
        assert SQUASH(path).shape == (32, 32, 3)


def test_mean_image_is_subtracted_pixel_by_pixel(train_set: LabelledImages, statistics: Statistics):
    mean = statistics.mean_image[:, 8:56, 8:56]
    pixel = replace(CROP, mean_image=encode_mean_image(mean))
    image = CROP(train_set.path(0))
    expected = (image.transpose(2, 0, 1) - mean.round()) / 255 / np.array(STD)[:, None, None]
    np.testing.assert_allclose(pixel.batch(image[None])[0], expected, atol=1e-5)
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
        (png(15_000, 10_000), "bomb"),
        (png(60_000, 60_000), "bomb"),
        (b"", "not an image"),
    ],
)
def test_bombs_and_impossible_sides_are_refused_before_they_are_decoded(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(UserError, match=words) as error:
        SQUASH(tmp_path / "a.png")
    assert str(tmp_path / "a.png") in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - started < 1
