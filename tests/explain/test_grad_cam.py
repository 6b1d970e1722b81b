"""Grad-CAM of a planted object points at it."""

import numpy as np
import paddle
import pytest
from planted import GREEN, RED, SIDE, planted, red_and_green
from rounding import FEW

from paddle_alexnet.explain.attribution import grad_cam
from paddle_alexnet.explain.drawing import onto
from paddle_alexnet.network.alexnet import AlexNet

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`

PLACES = [((5, 8), (60, 55)), ((62, 10), (12, 64)), ((8, 62), (66, 30))]


def center_of(heat):
    """The center of gravity of a heat map, in pixels of the image: row, column."""
    weights = onto(heat, (SIDE, SIDE))
    return np.array([(weights.sum(axis=1 - axis) * np.arange(SIDE)).sum() / weights.sum() for axis in (0, 1)])


@pytest.mark.parametrize("red, green", PLACES)
def test_grad_cam_is_highest_on_the_object_of_its_class(red, green):
    network, metadata = red_and_green()
    image = metadata.preprocess.batch(np.repeat(planted({RED: red, GREEN: green})[None], 2, axis=0))
    heat = grad_cam(network, image, [RED, GREEN])
    assert heat.shape == (2, 5, 5) and heat.min() >= 0
    for found, (top, left) in zip(heat, (red, green)):
        row, column = center_of(found)
        assert top <= row < top + 28 and left <= column < left + 28


def test_grad_cam_of_an_absent_class_is_zero():
    network, metadata = red_and_green()
    image = metadata.preprocess.batch(planted({GREEN: (20, 30)})[None])
    assert not grad_cam(network, image, [RED]).any()
    assert grad_cam(network, image, [GREEN]).any()


def test_grad_cam_equals_the_formula_of_the_article():
    """By hand for the last layers: with a linear head the slope is known, and so is the weight of each map."""
    network, metadata = red_and_green()
    image = metadata.preprocess.batch(planted({RED: (30, 30)})[None])
    heat = grad_cam(network, image, [RED])[0]
    x = paddle.to_tensor(image)
    for layer in network._sub_layers["features"][:-1]:
        x = layer(x)
    maps = x.numpy()[0]
    # Each of the 2×2 windows of pool5 passes a slope of 1 to its largest cell of map 0: 4 of 25 cells on average.
    np.testing.assert_allclose(heat, 4 / 25 * maps[0], rtol=FEW)


def test_a_trained_network_looks_at_what_it_was_trained_to_see():
    """A red or a green square on noise; the place is drawn anew for each image. Six seeds had 0.94 to 1.00 inside."""
    rng = np.random.default_rng(0)

    def draw(count):
        images = rng.normal(0, 0.3, size=(count, 3, SIDE, SIDE)).astype(np.float32)
        labels, places = rng.integers(0, 2, count), rng.integers(2, SIDE - 32, (count, 2))
        for image, label, (top, left) in zip(images, labels, places):
            image[label, top : top + 30, left : left + 30] = 2
        return images, labels, places

    paddle.seed(0)
    network = AlexNet("tiny", 2)
    optimizer = paddle.optimizer.Adam(2e-3, parameters=network.parameters())
    for _ in range(60):
        images, labels, _ = draw(16)
        loss = paddle.nn.functional.cross_entropy(network(paddle.to_tensor(images)), paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    network.eval()
    images, labels, places = draw(48)
    assert (network(paddle.to_tensor(images)).numpy().argmax(axis=1) == labels).mean() > 0.9
    inside = 0
    for heat, place in zip(grad_cam(network, images, labels), places):
        peak = np.unravel_index(onto(heat, (SIDE, SIDE)).argmax(), (SIDE, SIDE))
        inside += bool((peak >= place - 5).all() and (peak < place + 35).all())  # a cell of the maps has 20 pixels
    assert inside / len(places) > 0.8  # where chance has 0.16
