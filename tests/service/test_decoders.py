"""Decoding in processes: small files that take long or much memory are refused, and the others are not."""

import asyncio
import base64
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.service.decoders import Decoders
from paddle_alexnet.service.limits import Limits, Refused

PREPROCESS = Preprocess(20, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def file_of(form, size=(40, 30), mode="RGB", **how):
    stream = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(stream, form, **how)
    return stream.getvalue()


def many_scans():
    """A progressive JPEG file of 200 kB whose last scan is there again and again: half a minute of libjpeg."""
    stream = io.BytesIO()
    Image.new("L", (4000, 4000)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    scan = content[content.rfind(b"\xff\xda") : -2]
    return content[: -2 - len(scan)] + scan * (200_000 // len(scan)) + b"\xff\xd9"


SLOW = {
    "blanks before the size": b"P6\n" + b" " * 12_000_000 + b"2 2 255\n" + bytes(12),
    "comments among numbers": b"P2\n5000 5000 255\n" + b"#\n" * 1_000_000,
    "scans": many_scans(),
}


def answers(contents, **limits):
    """What becomes of images, one after the other: pixels or a refusal."""

    async def whole():
        decoders = Decoders(PREPROCESS, Limits(**limits))
        decoders.start()
        try:
            found = []
            for content in contents:
                try:
                    found.append(await decoders(content))
                except Refused as refusal:
                    found.append((refusal.status, refusal.reason))
            return found
        finally:
            decoders.stop()

    return asyncio.run(whole())


def test_decoder_refuses_an_image_that_takes_too_long_and_decodes_the_next():
    sound = file_of("JPEG")
    found = answers([part for slow in SLOW.values() for part in (slow, sound)], decoding=0.5)
    for name, refusal in zip(SLOW, found[::2]):
        assert refusal[0] == 422 and "takes more than 0.5 s to decode" in refusal[1], name
    for pixels in found[1::2]:
        np.testing.assert_array_equal(pixels, PREPROCESS.pixels(sound))


def test_decoder_refuses_an_image_that_takes_too_much_memory_and_decodes_the_next():
    stream = io.BytesIO()
    Image.new("L", (9000, 9000)).save(stream, "PNG")
    large, sound = stream.getvalue(), file_of("PNG")
    found = answers([large, sound], memory=300, megapixels=100)
    assert found[0][0] == 413 and "more than 300 MB" in found[0][1]
    np.testing.assert_array_equal(found[1], PREPROCESS.pixels(sound))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "PPM", "TIFF"])
def test_decoders_give_the_pixels_and_refusals_of_prediction(form):
    content = file_of(form)
    found = answers([content, base64.b64encode(content).decode(), b"no image", "%%"])
    for pixels in found[:2]:
        np.testing.assert_array_equal(pixels, PREPROCESS.pixels(content))
    assert [status for status, _ in found[2:]] == [415, 422]


def test_damage_is_not_reported_beside_the_answer(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = file_of("TIFF", compression="tiff_lzw")
        ((status, _),) = answers([content[:100] + b"\xff" * 400 + content[500:]])
    assert status == 422
    assert capfd.readouterr() == ("", "")
