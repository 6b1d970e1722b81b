"""Occlusion: a class loses where its object is covered."""

import numpy as np
import pytest
from planted import GREEN, RED, SIDE, planted, red_and_green

from paddle_alexnet.explain.attribution import by_pixel, occlusion, starts_of

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


def test_occlusion_lowers_a_class_only_if_its_object_is_covered():
    network, metadata = red_and_green()
    image = metadata.preprocess.batch(planted({RED: (8, 60), GREEN: (62, 14)})[None])[0]
    kept = occlusion(network, image, RED, square=30, stride=10, batch_size=7)
    starts = starts_of(SIDE, 30, 10)
    assert kept.shape == (len(starts), len(starts))
    row, column = np.unravel_index(kept.argmin(), kept.shape)
    assert abs(starts[row] - 8) <= 10 and abs(starts[column] - 60) <= 10
    far = kept[6, 6]  # 60 pixels down and right: neither object
    assert kept.min() < 0.05 * far
    row, column = np.unravel_index(kept.argmax(), kept.shape)  # without the green one red is surer
    assert abs(starts[row] - 62) <= 10 and abs(starts[column] - 14) <= 10


def test_the_last_squares_are_at_the_edge():
    assert starts_of(10, 4, 3) == [0, 3, 6]
    assert starts_of(11, 4, 3) == [0, 3, 6, 7]
    assert starts_of(4, 4, 3) == [0]


def test_a_pixel_has_the_mean_of_the_squares_over_it():
    found = by_pixel(np.array([[1.0, 2], [3, 4]]), 3, square=2, stride=1)
    np.testing.assert_allclose(found, [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]])
