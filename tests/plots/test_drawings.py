"""The pictures, by their pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.plots.drawings import draw_confusion, draw_mistakes, filter_grid, read_mistakes

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_the_sheet_shows_the_images_and_gives_them_back(pictures, tmp_path):
    images = [pictures / f"{n}.png" for n in (3, 11, 0, 1, 2, 4, 5)] + [pictures / "missing.png"]
    draw_mistakes(tmp_path / "sheet.png", images, [("Äpfel", "$b$ " * 40)] * 8, PREPROCESS)
    for n, picture in zip((3, 11, 0, 1, 2, 4, 5), read_mistakes(tmp_path / "sheet.png", 8)):
        with Image.open(io.BytesIO(picture)) as image:
            np.testing.assert_allclose(np.asarray(image).mean(axis=(0, 1)), (20 * n, 255 - 20 * n, 90), atol=2)


def test_a_sheet_without_mistakes_is_one_too(tmp_path):
    draw_mistakes(tmp_path / "sheet.png", [], [], PREPROCESS)
    assert read_mistakes(tmp_path / "sheet.png", 0) == []


@pytest.mark.parametrize("classes", [3, 40])
def test_a_confusion_matrix_is_darkest_where_it_is_largest(tmp_path, classes):
    confusion = np.zeros((classes, classes), np.int64)
    confusion[0, -1] = 5  # all of the first class are taken for the last
    draw_confusion(tmp_path / "confusion.png", confusion, [f"$class_{n}" for n in range(classes)])
    with Image.open(tmp_path / "confusion.png") as image:
        dark = np.asarray(image.convert("RGB")) == (8, 48, 107)  # the darkest of Matplotlib's blues
    rows, columns = np.nonzero(dark.all(axis=2))
    assert rows.max() < 0.5 * dark.shape[0]
    assert columns.min() > 0.5 * dark.shape[1]


def test_filters_are_a_pixel_a_weight_gray_where_they_are_0():
    weights = np.zeros((20, 3, 5, 5), np.float32)
    weights[17, 0, 2, 3] = -0.25  # red; the largest of its filter
    weights[17, 2, 0, 0] = 0.125
    grid = filter_grid(weights)
    assert grid.shape == (2 * 6 - 1, 16 * 6 - 1, 4)
    assert grid[0, 0].tolist() == [128, 128, 128, 255]
    assert grid[6 + 2, 6 + 3].tolist() == [0, 128, 128, 255]
    assert grid[6, 6].tolist() == [128, 128, 191, 255]
    assert grid[0, 5, 3] == grid[-1, -1, 3] == 0  # between filters, and where there is none
