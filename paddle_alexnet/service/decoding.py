"""Decoding of images in requests."""

import base64
import binascii

import numpy as np
from PIL import UnidentifiedImageError

from paddle_alexnet.data.preprocess import Preprocess, open_image
from paddle_alexnet.service.limits import Refused
from paddle_alexnet.system.errors import UserError


def decode(content: bytes, preprocess: Preprocess, *, megapixels: int) -> np.ndarray:
    """Return an image file's preprocessed pixels, uint8 [S, S, 3].

    Raises:
        Refused: The content is no image (415), has more than `megapixels` (413), or is damaged (422).
        MemoryError: Memory is exhausted.
    """
    try:
        with open_image(content) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise Refused(415, "not an image of a known format; send JPEG or PNG") from None
    except MemoryError:
        raise
    except UserError as error:  # the format requires another package
        raise Refused(415, f"the image {error}") from None
    except Exception as error:  # a damaged file may raise anything
        raise Refused(422, f"the image is damaged ({error})") from None
    if width * height > megapixels * 1e6:
        raise Refused(413, f"{width}×{height} pixels exceed the limit of {megapixels} megapixels; save it smaller")
    try:
        return preprocess(content)
    except UserError as error:
        if isinstance(error.__context__, MemoryError):
            raise error.__context__ from None
        raise Refused(422, str(error).removeprefix("the image: ").partition("; replace")[0]) from None


def from_base64(text: str) -> bytes:
    """Return the content of base64 or of a data URI. Raise Refused (422) for another text."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "not base64") from None
