"""Zero padding: how much a stage adds, and that of the first convolution as an operator of its own."""

import copy
from typing import Union

import paddle
from paddle import nn
from paddle.nn import functional

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import Conv, MaxPool, Padding


def with_explicit_padding(network: AlexNet, size: int) -> AlexNet:
    """The same network, with the same weights, that pads an image of S×S first, then convolves without padding.

    oneDNN convolves a padded image of three channels by its reference implementation where the processor has AVX2
    and no more: a network that takes 0.6 s for 32 images took 9 s. The logits differ by rounding.
    """
    first, layer = next(network.named_layers())
    assert isinstance(first.stage, Conv)
    edges = zeros(first.stage, size)
    if not any(edges):
        return network
    twin = copy.copy(network)
    twin._sub_layers = copy.copy(network._sub_layers)
    layers = list(network._sub_layers[first.block])
    layers[first.position] = _PadThenConv(layer, first.stage, edges)
    twin.add_sublayer(first.block, nn.Sequential(*layers))
    return twin


class _PadThenConv(nn.Layer):
    """A convolution, `conv`, that is given an image with `edges` of zeros, left, right, top and bottom."""

    def __init__(self, conv: nn.Conv2D, stage: Conv, edges: list[int]) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.groups, self.edges = stage.stride, stage.groups, edges

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        padded = functional.pad(image, self.edges)
        return functional.conv2d(padded, self.weight, self.bias, stride=self.stride, groups=self.groups)


def zeros(stage: Union[Conv, MaxPool], size: int) -> list[int]:
    """What a convolution or a pool adds to planes of S×S: left, right, top, bottom."""
    padding: Padding = stage.padding
    if isinstance(padding, int):
        return [padding] * 4
    if isinstance(padding, tuple):
        top, bottom, left, right = padding
        return [left, right, top, bottom]
    outputs = -(-size // stage.stride)  # SAME: as many as strides begun; what is odd goes to the right and the bottom
    total = max(0, (outputs - 1) * stage.stride + stage.kernel_size - size)
    return [total // 2, total - total // 2] * 2


def side_after(stage: Union[Conv, MaxPool], size: int) -> int:
    """The side of the planes that a convolution or a pool makes of those of S×S."""
    left, right, _, _ = zeros(stage, size)
    return (size + left + right - stage.kernel_size) // stage.stride + 1
