"""Forward pass by compiled operators, equal to Paddle's except for rounding."""

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

_FEW = 4  # channels; without AVX-512, oneDNN pads such images only in its slow reference implementation


def choose_kernels(name: str) -> str:
    """Return `compiled` or `paddle`; `auto` is compiled on a CPU if the library is built and loads, else paddle.

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
    _log.warning(f"{error}; Paddle's kernels are used")


def can_compute(network: nn.Layer, image: paddle.Tensor) -> bool:
    """Return whether the operators can replace a network's layers.

    They cannot while `paddle.jit` traces, on a GPU, in another dtype, or if a layer has a hook, as in
    `paddle.summary`, because the hook must see the layer compute.
    """
    return (
        paddle.in_dynamic_mode()
        and image.place.is_cpu_place()
        and image.dtype == paddle.float32
        and not any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in network.sublayers())
    )


def compiled_forward(layers: Sequence[tuple[Stage, nn.Layer]], image: paddle.Tensor) -> paddle.Tensor:
    """Return the output of the layers for an image [N, 3, S, S]; each ReLU is fused with the layer before it.

    Layers without an operator, and layers that the user has replaced, are called.
    """
    x, rectified = image, False  # rectified: x is the output of a ReLU whose gradient the next operator must apply
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
    """Return whether a layer's operator can also apply the gradient of the ReLU before it."""
    return type(layer) is nn.MaxPool2D or (type(layer) is LRN and not (layer.within_channel or layer.exclusive))


def convolution(layer: nn.Conv2D, stage: Conv, x: paddle.Tensor, *, relu: bool, mask: bool = True) -> paddle.Tensor:
    """Compute a convolution of x [N, C, H, W].

    Args:
        relu: Apply ReLU to the result.
        mask: Apply the gradient of ReLU here; else the next operator applies it, by its argument `rectified`.
    """
    operator = "alexnet_first_convolution" if x.stop_gradient else "alexnet_convolution"
    padding = padding_of(stage, x.shape[2])
    if x.shape[1] <= _FEW and any(padding):
        left, right, top, bottom = padding
        x = functional.pad(x, [0, 0, 0, 0, top, bottom, left, right])  # padding four values takes 15 times as long
        padding = [0] * 4
    return _run(operator, x, layer.weight, layer.bias, stage.stride, padding, stage.groups, relu, mask)


def linear(layer: nn.Linear, x: paddle.Tensor, *, relu: bool) -> paddle.Tensor:
    """Compute a linear layer of x [N, K], and ReLU of the result if `relu`."""
    return _run("alexnet_linear", x, layer.weight, layer.bias, relu)


def lrn(layer: LRN, x: paddle.Tensor, *, rectified: bool = False) -> paddle.Tensor:
    """Compute LRN across the channels of x [N, C, H, W]; see `convolution` for `rectified`."""
    return _run("alexnet_lrn", x, layer.size, layer.sum_scale, layer.beta, layer.k, layer.groups, rectified)


def max_pool(stage: MaxPool, x: paddle.Tensor, *, rectified: bool = False) -> paddle.Tensor:
    """Compute the max-pooling of x [N, C, H, W]; see `convolution` for `rectified`."""
    return _run("alexnet_max_pool", x, stage.kernel_size, stage.stride, padding_of(stage, x.shape[2]), rectified)


def _run(operator: str, *arguments: Any) -> paddle.Tensor:
    """Call an operator and return its first result."""
    results = core.eager._run_custom_op(operator, *arguments)
    return results[0] if isinstance(results, (list, tuple)) else results
