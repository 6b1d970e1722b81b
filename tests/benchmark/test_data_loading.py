"""The benchmark of the stages of loading: what it measures. How fast anything is, no test says."""

import random

import numpy as np
import pytest
from PIL import Image
from rounding import PIXELS

from paddle_alexnet.benchmark.data_loading import (
    PLAIN,
    PREPROCESS,
    VISION,
    benchmark_loader,
    format_loading,
    plain_image,
    vision_image,
)


def test_every_stage_is_timed_beside_the_plain_loader(demo_set, caplog):
    caplog.set_level("INFO", "paddle_alexnet")
    table = benchmark_loader(demo_set, workers=(1, 2), batch_size=4, images=6, repeats=1, device="cpu")
    assert set(table["workers"]) == {1, 2}
    assert {"read", "decode", "transform", "collate", "whole loader", PLAIN, VISION} <= set(table["stage"])
    assert (table["images_per_second"] > 0).all()
    assert table.loc[table["stage"] == PLAIN, "times_plain"].eq(1).all()
    assert "6 images of" in caplog.text
    lines = format_loading(table).splitlines()
    assert len(lines) == len(table)
    assert any(line.startswith(PLAIN) and line.endswith("1.00 × plain") for line in lines)


@pytest.mark.parametrize("size", [(256, 300), (400, 256)])
def test_the_plain_loaders_do_the_same_work(tmp_path, size):
    """A crop and a flip of the rescaled image, normalized: of one in one color, and of noise."""
    Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "a.png")
    expected = PREPROCESS.pixels(tmp_path / "a.png")
    for one in (plain_image, vision_image):
        image = np.asarray(one(tmp_path / "a.png"))
        assert image.shape == (3, 224, 224) and image.dtype == np.float32
        np.testing.assert_allclose(image, PREPROCESS.batch(expected[None])[0], atol=PIXELS)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    random.seed(1)
    image = plain_image(tmp_path / "b.png")
    levels = ((image - PREPROCESS.offset) / PREPROCESS.scale).round().astype(np.uint8).transpose(1, 2, 0)
    windows = np.lib.stride_tricks.sliding_window_view(noise, (224, 224), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    assert any((window == levels).all() for way in (windows, windows[:, :, :, ::-1]) for row in way for window in row)
