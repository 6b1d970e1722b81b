"""Convolutions in the form that Paddle Inference computes fast.

They equal the network's convolutions up to rounding. `paddle.jit` exports `nn.Conv2D` in a form that is slow twice:

- On processors with AVX2 only, oneDNN convolves a padded image of three channels with its reference implementation: 9 s
  instead of 0.6 s for 32 images. We pad the image first, by concatenation with zeros, because Paddle's `pad3d` takes
  ten times as long.
- Paddle fuses neither a bias that is reshaped before it is added, nor the ReLU after it, into the convolution.
"""

import copy

import paddle
from paddle import nn
from paddle.base.layer_helper import LayerHelper
from paddle.nn import functional

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import PADDLE_MAJOR
from paddle_alexnet.network.presets import Conv, MaxPool, padding_of, side_after


def with_fast_convolutions(network: AlexNet, size: int) -> AlexNet:
    """Return the network for images of `size`×`size` pixels, with shared weights and fast convolutions."""
    twin = copy.copy(network)
    twin._sub_layers = copy.copy(network._sub_layers)
    first = True
    for named, layer in network.named_layers():
        if isinstance(named.stage, Conv):
            layers = list(twin._sub_layers[named.block])
            layers[named.position] = _Convolution(layer, named.stage, padding_of(named.stage, size), image=first)
            twin.add_sublayer(named.block, nn.Sequential(*layers))
            first = False
        if isinstance(named.stage, (Conv, MaxPool)):
            size = side_after(named.stage, size)
    return twin


class _Convolution(nn.Layer):
    """A convolution with zero padding `edges`: left, right, top, bottom; an `image` is padded by concatenation."""

    def __init__(self, conv: nn.Conv2D, stage: Conv, edges: list[int], *, image: bool) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.groups = stage.stride, stage.groups
        left, right, top, bottom = edges
        self.edges = edges if image else [0] * 4
        self.padding = [0] * 4 if image else [top, bottom, left, right]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = _padded(x, self.edges)
        x = functional.conv2d(x, self.weight, None, self.stride, self.padding, groups=self.groups)
        return _add_bias(x, self.bias)


def _padded(x: paddle.Tensor, edges: list[int]) -> paddle.Tensor:
    """Return x [N, C, H, W] with `edges` of zeros: left, right, top, bottom."""
    if PADDLE_MAJOR >= 3:  # `zeros_like` warns there while `paddle.jit` traces
        return functional.pad(x, edges)
    for axis, (before, after) in ((2, edges[2:]), (3, edges[:2])):
        # Each edge has its own tensor, because a pass for bfloat16 loses an input that comes twice.
        begin, end = ([paddle.zeros_like(paddle.slice(x, [axis], [0], [n]))] if n else [] for n in (before, after))
        if before or after:
            x = paddle.concat([*begin, x, *end], axis)
    return x


def _add_bias(x: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """Return x [N, C, H, W] + bias [C]."""
    if paddle.in_dynamic_mode() or PADDLE_MAJOR >= 3:  # Paddle 3's operator has no axis
        return x + bias.reshape([1, -1, 1, 1])
    helper = LayerHelper("elementwise_add")  # while `paddle.jit` traces
    y = helper.create_variable_for_type_inference(x.dtype)
    helper.append_op(type="elementwise_add", inputs={"X": x, "Y": bias}, outputs={"Out": y}, attrs={"axis": 1})
    return y
