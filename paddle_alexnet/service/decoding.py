"""Images out of requests: decoded, or refused with a reason."""

import base64
import binascii

import numpy as np
from PIL import UnidentifiedImageError

from paddle_alexnet.data.preprocess import Preprocess, open_image
from paddle_alexnet.service.limits import Refused
from paddle_alexnet.system.errors import UserError


def decode(content: bytes, preprocess: Preprocess, *, megapixels: int) -> np.ndarray:
    """The bytes of an image file as uint8 [S, S, 3].

    Raises Refused with 415 for what is no image, 413 for one of more pixels, 422 for one that is damaged, and
    MemoryError.
    """
    try:
        with open_image(content) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise Refused(415, "not an image of a known format, such as JPEG or PNG") from None
    except MemoryError:
        raise
    except UserError as error:  # a format that needs a package more
        raise Refused(415, f"the image {error}") from None
    except Exception as error:  # a damaged file may raise anything
        raise Refused(422, f"a damaged image ({error})") from None
    if width * height > megapixels * 1e6:
        raise Refused(413, f"{width}×{height} pixels: at most {megapixels} megapixels are taken")
    try:
        return preprocess(content)
    except UserError as error:
        if isinstance(error.__context__, MemoryError):
            raise error.__context__ from None
        raise Refused(422, str(error).removeprefix("the image: ").partition(": replace it")[0]) from None


def from_base64(text: str) -> bytes:
    """The bytes that base64 holds, also where a data URI carries it. Raises Refused with 422 for other text."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "not base64") from None
