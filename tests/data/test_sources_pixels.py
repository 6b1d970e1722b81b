"""What the network sees of an image, beside what torchvision, PaddleClas and Caffe show theirs: the same pixels.

The definitions are written down here from their sources, one step after the other and pixel by pixel.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.data.preprocess import Preprocess

# Landscape, portrait, exactly 256, smaller than 224, strips, and a pixel off; an exact half is OpenCV's own case.
SIZES = [(500, 375), (375, 500), (256, 256), (256, 257), (257, 256), (255, 341), (150, 100), (90, 223), (40, 700),
         (1000, 33), (512, 512), (512, 683), (1, 1), (333, 251)]  # fmt: skip
TORCHVISION = Preprocess(
    224, (0.5,) * 3, (0.2,) * 3, geometry="torchvision", resize=256, orientation="stored", draft=False
)
PADDLECLAS = replace(TORCHVISION, geometry="paddleclas", resample="opencv")
CAFFE = replace(TORCHVISION, image_size=227, geometry="squash", resample="opencv")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def torchvision(image: Image.Image, size: int, resize: int) -> np.ndarray:
    """transforms/functional.py: `resize` of the shorter side, bilinear, then `center_crop`."""
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new_short, new_long = resize, int(resize * long / short)
    new_w, new_h = (new_short, new_long) if w <= h else (new_long, new_short)
    image = image.resize((new_w, new_h), Image.Resampling.BILINEAR)
    top, left = round((new_h - size) / 2.0), round((new_w - size) / 2.0)
    return np.asarray(image)[top : top + size, left : left + size]


def cv2_resize(levels: np.ndarray, wide: int, high: int) -> np.ndarray:
    """cv::resize of uint8 by INTER_LINEAR: weights of 11 bits, the second pass on sums less 4 bits."""
    h, w = levels.shape[:2]
    if (w, h) == (wide, high):
        return levels
    if (w, h) == (2 * wide, 2 * high):
        sums = levels.reshape(high, 2, wide, 2, 3).sum(axis=(1, 3), dtype=int)
        return (sums + 2) // 4

    def taps(length, target):
        scale = 1 / (target / length)
        for i in range(target):
            at = np.float32((i + 0.5) * scale - 0.5)
            low = math.floor(at)
            share = at - np.float32(low)
            pair = [int(np.rint(x * np.float32(2048))) for x in (np.float32(1) - share, share)]
            yield [(min(max(low + k, 0), length - 1), pair[k]) for k in (0, 1)]

    columns = list(taps(w, wide))
    rows = {}
    for y in range(h):
        line = levels[y].astype(int)
        rows[y] = np.stack([line[a] * p + line[b] * q for (a, p), (b, q) in columns])
    return np.stack([
        ((p * (rows[a] >> 4) >> 16) + (q * (rows[b] >> 4) >> 16) + 2) >> 2 for (a, p), (b, q) in taps(h, high)
    ])  # fmt: skip


def paddleclas(image: Image.Image, size: int, resize: int) -> np.ndarray:
    """ppcls/data/preprocess/ops/operators.py: `ResizeImage(resize_short)` with its default backend, `CropImage`."""
    img = np.asarray(image)
    img_h, img_w = img.shape[:2]
    percent = float(resize) / min(img_w, img_h)
    img = cv2_resize(img, round(img_w * percent), round(img_h * percent))
    img_h, img_w = img.shape[:2]
    w_start, h_start = (img_w - size) // 2, (img_h - size) // 2
    return img[h_start : h_start + size, w_start : w_start + size]


def caffe(image: Image.Image, size: int, resize: int) -> np.ndarray:
    """tools/convert_imageset --resize_width --resize_height, then the crop of DataTransformer's test phase."""
    img = cv2_resize(np.asarray(image), resize, resize)
    offset = (resize - size) // 2  # integers in C++
    return img[offset : offset + size, offset : offset + size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "preprocess, definition", [(TORCHVISION, torchvision), (PADDLECLAS, paddleclas), (CAFFE, caffe)]
)
def test_the_network_sees_the_same_pixels(preprocess, definition, size, tmp_path):
    noise(*size).save(tmp_path / "a.png")
    expected = definition(noise(*size), preprocess.image_size, 256)
    np.testing.assert_array_equal(preprocess.pixels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("size", [(227, 256), (225, 256), (99, 111), (64, 64)])
def test_crop_with_an_odd_margin_has_the_pixels_of_torchvision_and_paddleclas(size):
    """Where torchvision rounds a half to the even pixel and PaddleClas down, at every length of the long side."""
    network, resize = size
    for long in range(300, 308):
        for preprocess, definition in ((TORCHVISION, torchvision), (PADDLECLAS, paddleclas)):
            image = noise(long, 290) if long % 2 else noise(290, long)
            ours = replace(preprocess, image_size=network, resize=resize)
            np.testing.assert_array_equal(ours.pixels(image), definition(image, network, resize))


def test_strips_that_would_fill_the_memory_are_refused(tmp_path):
    noise(1, 3000).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: 1×3000 pixels, resized to 256×768000, require 786 MB, decode_limit"):
        TORCHVISION.pixels(tmp_path / "a.png")
    assert replace(TORCHVISION, decode_limit=800).pixels(tmp_path / "a.png").shape == (224, 224, 3)
