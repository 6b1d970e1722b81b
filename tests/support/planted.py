"""A network made by hand that knows two things, red and green, and images with a square of each on gray."""

from collections.abc import Sequence

import numpy as np
import paddle
from helpers import metadata_of
from tiny import TINY

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata

RED, GREEN = 0, 1
SIDE = TINY.image_size
COLORS = {RED: (230, 40, 40), GREEN: (40, 230, 40)}


def red_and_green() -> tuple[AlexNet, Metadata]:
    """Channel 0 carries how red a place is through all convolutions, channel 1 how green, and the logits sum them."""
    network = AlexNet("tiny", 2)
    state = {name: np.zeros(value.shape, np.float32) for name, value in network.state_dict().items()}
    weights = [value for name, value in state.items() if name.endswith("weight")]
    for color in (RED, GREEN):
        weights[0][color] = -0.5 / 121
        weights[0][color, color] = 1 / 121
        for convolution in weights[1:5]:
            middle = convolution.shape[2] // 2
            convolution[color, color, middle, middle] = 1
        cells = weights[5].shape[0] // 24  # of each of the 24 maps that fc6 reads
        weights[5][color * cells : (color + 1) * cells, color] = 1
        weights[6][color, color] = weights[7][color, color] = 1
    network.set_state_dict({name: paddle.to_tensor(value) for name, value in state.items()})
    network.eval()
    return network, metadata_of(network)


def planted(places: dict[int, Sequence[int]], *, size: int = 28) -> np.ndarray:
    """An image, uint8 [S, S, 3], of gray with a square of each color whose upper left corner is (top, left)."""
    pixels = np.full((SIDE, SIDE, 3), 110, np.uint8)
    for color, (top, left) in places.items():
        pixels[top : top + size, left : left + size] = COLORS[color]
    return pixels
