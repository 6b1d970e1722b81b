"""Local response normalization (paper section 3.3), one layer with several backends.

y = x / (k + a * S) ** beta; S is the sum of squares over `size` neighboring channels, zero beyond the first and the
last channel. There are two conventions for the published alpha. The paper's text and TensorFlow multiply the sum
(a = alpha); Caffe, PyTorch and Paddle multiply the mean (a = alpha / size).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import nn
from paddle.base.layer_helper import LayerHelper

from paddle_alexnet.config.choices import one_of
from paddle_alexnet.system.errors import UserError

PADDLE_MAJOR = int(paddle.__version__.split(".")[0])
_NATIVE_RANGE = 10.0  # largest (k + a * S) / k


@dataclass(frozen=True)
class Backend:
    """An implementation, and for each job the major versions of Paddle in which its results are correct."""

    compute: Callable[[Any, paddle.Tensor], paddle.Tensor]  # layer, x -> y
    train: tuple[int, ...] = (2, 3)  # in the dynamic graph, for training and evaluation
    jit: tuple[int, ...] = (2, 3)  # exported by `paddle.jit`
    onnx: tuple[int, ...] = (2, 3)  # exported to ONNX


def usable_backends(backends: Mapping[str, Backend], job: str) -> list[str]:
    """Return the backends that this Paddle can use for a job (`train`, `jit` or `onnx`), in the table's order."""
    return [name for name, backend in backends.items() if PADDLE_MAJOR in getattr(backend, job)]


def choose_among(backends: Mapping[str, Backend], name: str, *, job: str, what: str) -> str:
    """Return the named backend, or the first usable one if the name is `auto` or the backend cannot do the job.

    Raises:
        UserError: The name is unknown.
    """
    one_of(name, ("auto", *backends), what=what)
    possible = usable_backends(backends, job)
    return name if name in possible else possible[0]


class LRN(nn.Layer):
    """Local response normalization of x [N, C, H, W]; the output has the same shape.

    Args:
        average: Multiply alpha by the mean of the squares (Caffe, PyTorch, Paddle), else by their sum (paper).
        groups: Number of channel groups that are normalized separately, 2 for the two GPUs of 2012.
        within_channel: Sum over a window [size, size] of each channel instead (Caffe's WITHIN_CHANNEL); `average`
            then divides by size².
        exclusive: The quirk of the Paddle article, whose AvgPool3D divides border channels by the number of existing
            neighbors, not by `size`.
        channels: C, required by the backends `band` and `native`.

    Raises:
        UserError: The arguments exclude each other, or `groups` does not divide the channels.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        average: bool = True,
        groups: int = 1,
        within_channel: bool = False,
        exclusive: bool = False,
        channels: Optional[int] = None,
        backend: str = "avgpool3d",
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise UserError(f"LRN size {size}: must be odd and positive; use 5, as in the paper")
        one_of(backend, [name for name in BACKENDS if name != "none"], what="LRN backend")
        if exclusive and backend != "avgpool3d":
            raise UserError(f"LRN backend {backend}: does not support the exclusive border quirk; use avgpool3d")
        self.size, self.beta, self.k = size, beta, k
        self.groups, self.within_channel, self.exclusive = groups, within_channel, exclusive
        self.backend = backend
        window = (1, size, size) if within_channel else (size, 1, 1)
        neighbors = window[0] * window[1] * window[2]
        self.sum_scale = alpha / neighbors if average else alpha  # the `a` of the formula
        self.mean_scale = self.sum_scale * neighbors
        if channels is not None:
            self._check(channels)
        if backend == "avgpool3d":
            padding = tuple(n // 2 for n in window)
            self.mean = nn.AvgPool3D(window, stride=1, padding=padding, exclusive=exclusive)
        elif within_channel:
            self.mean = nn.AvgPool2D(size, stride=1, padding=size // 2, exclusive=False)
        elif backend in ("band", "native"):
            if channels is None:
                raise UserError(f"LRN backend {backend}: requires the number of channels; write LRN(channels=C)")
            near = np.abs(np.subtract.outer(np.arange(channels // groups), np.arange(channels // groups))) <= size // 2
            band = paddle.to_tensor(self.sum_scale * near[:, :, None, None].astype(np.float32))  # [C/G, C/G, 1, 1]
            self.register_buffer("band", band, persistable=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        _, channels, height, width = x.shape
        self._check(channels)
        compute = BACKENDS[self.backend].compute
        if self.within_channel and self.backend != "avgpool3d":
            compute = _within_channel
        if self.groups == 1:
            return compute(self, x)
        columns = x.reshape([-1, channels // self.groups, height, width])  # [N G, C / G, H, W]
        return compute(self, columns).reshape([-1, channels, height, width])

    def extra_repr(self) -> str:
        return f"size={self.size}, a={self.sum_scale:g}, beta={self.beta}, k={self.k}, backend={self.backend}"

    def _check(self, channels: int) -> None:
        if channels % self.groups:
            raise UserError(f"LRN groups={self.groups}: must divide the {channels} channels; choose another number")


def _native(layer: LRN, x: paddle.Tensor) -> paddle.Tensor:
    """Compute LRN by Paddle's private kernel, or by `_band` if the kernel's rounding errors are too large.

    The kernel keeps a running sum, so a large S passes its rounding error to the small sums of later channels. The
    relative error of y against float64 on a CPU is 2e-6 if a * S is at most 10 k everywhere, 5e-4 at 5,000 k, and y is
    NaN at 5e8 k. An exported program does not check S: its error is 2e-6 for any S only with oneDNN.
    """
    constants = {"n": layer.size, "k": layer.k, "alpha": layer.sum_scale, "beta": layer.beta, "data_format": "NCHW"}
    if paddle.in_dynamic_mode():
        y, denominator = paddle._legacy_C_ops.lrn(x, *(part for item in constants.items() for part in item))
        return y if float(denominator.max()) <= _NATIVE_RANGE * layer.k else _band(layer, x)
    helper = LayerHelper("lrn")  # while `paddle.jit` traces
    y, denominator = (helper.create_variable_for_type_inference(x.dtype) for _ in range(2))
    helper.append_op(type="lrn", inputs={"X": x}, outputs={"Out": y, "MidOut": denominator}, attrs=constants)
    return y


def _band(layer: LRN, x: paddle.Tensor) -> paddle.Tensor:
    """Compute S as a 1x1 convolution of the squares; row c of its matrix marks the neighbors of channel c."""
    return _divided(layer, x, layer.k + nn.functional.conv2d(x * x, layer.band))


def _within_channel(layer: LRN, x: paddle.Tensor) -> paddle.Tensor:
    return _divided(layer, x, layer.k + layer.mean_scale * layer.mean(x * x))


def _divided(layer: LRN, x: paddle.Tensor, denominator: paddle.Tensor) -> paddle.Tensor:
    """Return x / denominator ** beta."""
    if layer.beta != 0.75:
        return x * denominator**-layer.beta
    root = paddle.rsqrt(denominator)  # d ** -0.75 = d ** -0.5 * d ** -0.25 without pow, which is slow
    return x * (root * paddle.sqrt(root))


def _avgpool3d(layer: LRN, x: paddle.Tensor) -> paddle.Tensor:
    """Average the squares by AvgPool3D, as the Paddle article does: over (C, 1, 1), within a channel over (1, H, W)."""
    axis = 2 if layer.within_channel else 1  # [N, C, 1, H, W] or [N, 1, C, H, W]
    mean = layer.mean((x * x).unsqueeze(axis)).squeeze(axis)
    return x * (layer.k + layer.mean_scale * mean) ** -layer.beta


def _builtin(layer: LRN, x: paddle.Tensor) -> paddle.Tensor:
    """Compute LRN as `paddle.nn.LocalResponseNorm` does."""
    return nn.functional.local_response_norm(x, layer.size, alpha=layer.mean_scale, beta=layer.beta, k=layer.k)


# The fastest first. Paddle 3's program format and ONNX have no native kernel; Paddle 3's ONNX exporter converts
# `local_response_norm` incorrectly.
BACKENDS = {
    "native": Backend(_native, train=(2, 3) if hasattr(paddle._legacy_C_ops, "lrn") else (), jit=(2,), onnx=()),
    "band": Backend(_band),
    "avgpool3d": Backend(_avgpool3d),
    "builtin": Backend(_builtin, onnx=(2,)),
    "none": Backend(lambda layer, x: x),  # AlexNet omits the layers
}


def choose_backend(lrn: str, job: str = "train") -> str:
    """Return the backend for a job, see `choose_among`."""
    return choose_among(BACKENDS, lrn, job=job, what="LRN backend")
