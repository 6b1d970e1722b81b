"""Local response normalisation (paper section 3.3) as one layer with several backends.

y = x / (k + a * S) ** beta, where S is the sum of squares over `size` neighbouring channels, zero
beyond the first and the last channel. Two conventions are in use for the published alpha: the
paper's text and TensorFlow multiply the plain sum (a = alpha); Caffe, PyTorch and Paddle multiply
the mean (a = alpha / size). The same alpha in both is wrong by a factor of `size`.

The backends compute the same numbers: `avgpool3d` is the article's layer; `builtin` is
`paddle.nn.LocalResponseNorm`; `band` is a 1x1 convolution of the squares with a 0/1 band matrix,
and about twice as fast on a CPU; `native` is Paddle's own kernel, which has only a private name,
is the fastest, and can be exported by Paddle 2 alone.
"""

from typing import Optional

import numpy as np
import paddle
from paddle import nn
from paddle.base.layer_helper import LayerHelper

from paddle_alexnet.errors import UserError
from paddle_alexnet.names import one_of

BACKENDS = ("avgpool3d", "builtin", "band", "native", "none")


def usable_backends(job: str) -> tuple[str, ...]:
    """The backends that compute in a job, the fastest first: `train`, `jit` or `onnx`.

    The native kernel is not in Paddle 3's program format, and ONNX has no such operator;
    Paddle 3's ONNX exporter gets `nn.LocalResponseNorm` wrong.
    """
    paddle2 = int(paddle.__version__.split(".")[0]) < 3
    native = ("native",) if hasattr(paddle._legacy_C_ops, "lrn") and (paddle2 or job == "train") else ()
    builtin = ("builtin",) if paddle2 or job != "onnx" else ()
    return (*(native if job != "onnx" else ()), "band", "avgpool3d", *builtin, "none")


def choose_backend(lrn: str, job: str = "train") -> str:
    """The backend to use for a name in a job: `auto` is the fastest, one that cannot is swapped for one that can.

    Raises UserError for an unknown name.
    """
    one_of(lrn, ("auto", *BACKENDS), what="LRN backend")
    usable = usable_backends(job)
    return lrn if lrn in usable else usable[0]


class LRN(nn.Layer):
    """Local response normalisation of x [N, C, H, W], same shape out.

    `average` says which convention alpha follows: True for alpha times the mean of the squares
    (Caffe, PyTorch, Paddle), False for alpha times their sum (the paper's text, TensorFlow).
    `groups` normalises that many columns of channels separately (the two GPUs of 2012).
    `within_channel` sums over a size x size window of each channel instead, and `average` then
    divides by size squared (Caffe's WITHIN_CHANNEL); it is always computed by AvgPool3D.

    `channels` is C, which only `band` asks for: its matrix is a buffer that is not saved.

    `exclusive=True` is the quirk of the Paddle article: Paddle's AvgPool3D by default divides the
    border channels by the number of neighbours that exist, not by `size`.
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
            raise UserError(f"LRN size is {size}: it must be odd, for a channel has as many neighbours on each side")
        one_of(backend, [name for name in BACKENDS if name != "none"], what="LRN backend")
        if exclusive and backend != "avgpool3d":
            raise UserError(f"the exclusive border quirk exists only in backend avgpool3d, not in {backend}")
        self.size, self.beta, self.k = size, beta, k
        self.groups, self.within_channel = groups, within_channel
        self.exclusive, self.backend = exclusive, backend
        window = (1, size, size) if within_channel else (size, 1, 1)
        neighbours = window[0] * window[1] * window[2]
        self.sum_scale = alpha / neighbours if average else alpha  # the `a` of the formula
        self.mean_scale = self.sum_scale * neighbours
        if within_channel or backend == "avgpool3d":
            padding = tuple(n // 2 for n in window)
            self.mean = nn.AvgPool3D(window, stride=1, padding=padding, exclusive=exclusive)
        elif backend == "builtin":
            self.builtin = nn.LocalResponseNorm(size, alpha=self.mean_scale, beta=beta, k=k)
        elif backend == "band":
            if channels is None:
                raise UserError("LRN backend band needs to know the number of channels: LRN(channels=C)")
            band = self.sum_scale * _band(channels, size, groups)
            self.register_buffer("band", paddle.to_tensor(band), persistable=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.within_channel:
            mean = self.mean((x * x).unsqueeze(2)).squeeze(2)  # window over (1, H, W) of [N, C, 1, H, W]
            return x * (self.k + self.mean_scale * mean) ** -self.beta
        if self.backend == "band":
            denominator = self.k + nn.functional.conv2d(x * x, self.band)
            if self.beta != 0.75:
                return x * denominator**-self.beta
            root = paddle.rsqrt(denominator)  # d ** -0.75 = d ** -0.5 * d ** -0.25, and pow is slow
            return x * (root * paddle.sqrt(root))
        _, channels, height, width = x.shape
        column = channels // self.groups
        if self.backend == "avgpool3d":
            squares = (x * x).reshape([-1, self.groups, column, height, width])  # [N, G, C/G, H, W]
            mean = self.mean(squares).reshape([-1, channels, height, width])
            return x * (self.k + self.mean_scale * mean) ** -self.beta
        normalise = self.builtin if self.backend == "builtin" else self._native
        if self.groups == 1:
            return normalise(x)
        return normalise(x.reshape([-1, column, height, width])).reshape([-1, channels, height, width])

    def _native(self, x: paddle.Tensor) -> paddle.Tensor:
        attributes = {
            "n": self.size,
            "k": self.k,
            "alpha": self.sum_scale,
            "beta": self.beta,
            "data_format": "NCHW",
        }
        if paddle.in_dynamic_mode():
            flat = [part for item in attributes.items() for part in item]
            return paddle._legacy_C_ops.lrn(x, *flat)[0]
        helper = LayerHelper("lrn")  # while `paddle.jit` traces
        y = helper.create_variable_for_type_inference(x.dtype)
        middle = helper.create_variable_for_type_inference(x.dtype, stop_gradient=True)
        helper.append_op(type="lrn", inputs={"X": x}, outputs={"Out": y, "MidOut": middle}, attrs=attributes)
        return y

    def extra_repr(self) -> str:
        return f"size={self.size}, a={self.sum_scale:g}, beta={self.beta}, k={self.k}, backend={self.backend}"


def _band(channels: int, size: int, groups: int) -> np.ndarray:
    """[C, C, 1, 1] of 0 and 1: row c marks the neighbours of channel c within its column."""
    channel = np.arange(channels)
    near = np.abs(channel[:, None] - channel) <= size // 2
    column = channel // (channels // groups)
    return (near & (column[:, None] == column)).astype(np.float32)[:, :, None, None]
