"""A network's forward pass by compiled operators: the same weights and, but for rounding, the same numbers."""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import paddle
from paddle import nn
from paddle.base import core
from paddle.nn import functional

from paddle_alexnet.config.choices import KERNELS, one_of
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.network.presets import Conv, MaxPool, Stage, padding_of
from paddle_alexnet.system.errors import UserError

_log = logging.getLogger(__name__)

_FEW = 4  # channels of an image that oneDNN pads only in its reference implementation, where there is no AVX-512


def choose_kernels(name: str) -> str:
    """Return the kernels to compute with: the named ones; for `auto` compiled ones if they are built, on a CPU.

    For `auto`, a library that cannot be loaded gives a warning, the first time, and Paddle's kernels.

    Raises:
        UserError: The name is unknown, or `compiled` kernels are not built or cannot be loaded.
    """
    one_of(name, ("auto", *KERNELS), what="kernels")
    from paddle_alexnet.network.kernels import library

    if name == "auto" and not (library.built() and paddle.device.get_device() == "cpu"):
        return "paddle"
    if name == "paddle":
        return name
    try:
        library.load()
    except UserError as error:
        if name == "compiled":
            raise
        _warn_once(str(error))
        return "paddle"
    return "compiled"


@cache
def _warn_once(error: str) -> None:
    _log.warning(f"{error}; computing with Paddle's kernels")


def can_compute(network: nn.Layer, image: paddle.Tensor) -> bool:
    """Whether the operators can stand in for a network's layers.

    Not where `paddle.jit` traces, not on a GPU, not in another precision; and not where a layer has a hook, as
    `paddle.summary` gives it: who looks at single layers sees each of them compute.
    """
    return (
        paddle.in_dynamic_mode()
        and image.place.is_cpu_place()
        and image.dtype == paddle.float32
        and not any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in network.sublayers())
    )


def compiled_forward(layers: Sequence[tuple[Stage, nn.Layer]], image: paddle.Tensor) -> paddle.Tensor:
    """Pass an image [N, 3, S, S] through the layers; ReLU is computed with the layer that it follows.

    Layers that there is no operator for are called, and so are those that something else was put in place of.
    """
    x, rectified = image, False  # whether x is the result of a ReLU whose gradient is still to be taken
    rest = list(layers)
    while rest:
        (stage, layer), *rest = rest
        relu = bool(rest) and type(rest[0][1]) is nn.ReLU
        if isinstance(stage, Conv) and type(layer) is nn.Conv2D:
            rest = rest[relu:]
            rectified = relu and bool(rest) and _takes_gradient_of_relu(rest[0][1])
            x = convolution(layer, stage, x, relu=relu, mask=not rectified)
        elif type(layer) is nn.Linear:
            rest = rest[relu:]
            x = linear(layer, x, relu=relu)
        elif type(layer) is LRN and _takes_gradient_of_relu(layer):
            x, rectified = lrn(layer, x, rectified=rectified), False
        elif isinstance(stage, MaxPool) and type(layer) is nn.MaxPool2D:
            x, rectified = max_pool(stage, x, rectified=rectified), False
        else:
            x = layer(x)
    return x


def _takes_gradient_of_relu(layer: nn.Layer) -> bool:
    """Whether there is an operator for a layer that takes the gradient of a ReLU before it too."""
    return type(layer) is nn.MaxPool2D or (type(layer) is LRN and not (layer.within_channel or layer.exclusive))


def convolution(layer: nn.Conv2D, stage: Conv, x: paddle.Tensor, *, relu: bool, mask: bool = True) -> paddle.Tensor:
    """The layer's convolution of x [N, C, H, W], and ReLU of the result where asked for.

    Without `mask` the gradient of ReLU is left to the operator that reads the result, as `rectified`.
    """
    operator = "alexnet_first_convolution" if x.stop_gradient else "alexnet_convolution"
    padding = padding_of(stage, x.shape[2])
    if x.shape[1] <= _FEW and any(padding):
        left, right, top, bottom = padding
        x = functional.pad(x, [0, 0, 0, 0, top, bottom, left, right])  # the four sides alone take 15 times as long
        padding = [0] * 4
    return _run(operator, x, layer.weight, layer.bias, stage.stride, padding, stage.groups, relu, mask)


def linear(layer: nn.Linear, x: paddle.Tensor, *, relu: bool) -> paddle.Tensor:
    """The linear layer of x [N, K], and ReLU of the result where asked for."""
    return _run("alexnet_linear", x, layer.weight, layer.bias, relu)


def lrn(layer: LRN, x: paddle.Tensor, *, rectified: bool = False) -> paddle.Tensor:
    """The layer's normalization across the channels of x [N, C, H, W], see `convolution` for `rectified`."""
    return _run("alexnet_lrn", x, layer.size, layer.sum_scale, layer.beta, layer.k, layer.groups, rectified)


def max_pool(stage: MaxPool, x: paddle.Tensor, *, rectified: bool = False) -> paddle.Tensor:
    """The pool of x [N, C, H, W], see `convolution` for `rectified`."""
    return _run("alexnet_max_pool", x, stage.kernel_size, stage.stride, padding_of(stage, x.shape[2]), rectified)


def _run(operator: str, *arguments: Any) -> paddle.Tensor:
    """The first result of an operator."""
    results = core.eager._run_custom_op(operator, *arguments)
    return results[0] if isinstance(results, (list, tuple)) else results
