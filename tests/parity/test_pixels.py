"""What a network sees of an image's file after a conversion of weights, beside torchvision and OpenCV themselves."""

import io
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess

pytestmark = pytest.mark.parity
# Landscape, portrait, exactly 256, smaller than 224, strips, a pixel off, an exact half.
SIZES = [(500, 375), (375, 500), (256, 256), (256, 257), (257, 256), (255, 341), (150, 100), (90, 223), (40, 700),
         (1000, 33), (512, 512), (512, 683), (1, 1), (333, 251)]  # fmt: skip
NORMALIZED = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def photo(width: int, height: int) -> bytes:
    """A JPEG file that EXIF asks to turn."""
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(stream, "JPEG", quality=95, exif=exif.tobytes())
    return stream.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", [224, 227])
def test_torchvision(size, network, monkeypatch):
    torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install -e ".[parity]"')
    # It asks for torchvision's own operators, which are there only beside the build of PyTorch that they are for.
    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    reason = 'torchvision is not installed: pip install -e ".[parity]"'
    presets = pytest.importorskip("torchvision.transforms._presets", reason=reason)
    theirs = presets.ImageClassification(crop_size=network)  # of AlexNet_Weights.IMAGENET1K_V1
    with Image.open(io.BytesIO(photo(*size))) as image:
        expected = theirs(image.convert("RGB")).numpy()  # as datasets.folder.pil_loader
    ours = Preprocess(network, *NORMALIZED, geometry="torchvision", resize=256, orientation="stored", draft=False)
    pixels = ours.pixels(photo(*size))
    found = (torch.tensor(pixels.transpose(2, 0, 1)) / 255).numpy() - np.float32(NORMALIZED[0])[:, None, None]
    found /= np.float32(NORMALIZED[1])[:, None, None]
    # A level is 0.017 or more; what is left is float32's rounding of values up to 2.7.
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(ours.batch(pixels[None])[0], expected, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", [224, 227])
def test_paddleclas_and_caffe(size, network):
    cv2 = pytest.importorskip("cv2", reason='OpenCV is not installed: pip install -e ".[parity]"')
    turned = cv2.imdecode(np.frombuffer(photo(*size), np.uint8), 1)[:, :, ::-1]  # PaddleClas' DecodeImage
    stored = cv2.imdecode(np.frombuffer(photo(*size), np.uint8), 1 | cv2.IMREAD_IGNORE_ORIENTATION)[:, :, ::-1]
    height, width = turned.shape[:2]
    percent = 256.0 / min(width, height)
    resized = cv2.resize(turned, (round(width * percent), round(height * percent)))
    top, left = ((side - network) // 2 for side in resized.shape[:2])
    common = {"resize": 256, "resample": "opencv", "draft": False}
    ours = Preprocess(network, *NORMALIZED, geometry="paddleclas", orientation="exif", **common)
    np.testing.assert_array_equal(ours.pixels(photo(*size)), resized[top : top + network, left : left + network])
    offset = (256 - network) // 2
    squashed = cv2.resize(stored, (256, 256))[offset : offset + network, offset : offset + network]
    ours = Preprocess(network, *NORMALIZED, geometry="squash", orientation="stored", **common)
    np.testing.assert_array_equal(ours.pixels(photo(*size)), squashed)
