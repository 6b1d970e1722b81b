"""The first weights and biases of a layer, by the rule that its preset names."""

from math import sqrt
from typing import Any, Union

import paddle
from paddle.nn import initializer

from paddle_alexnet.network.lrn import PADDLE_MAJOR
from paddle_alexnet.network.presets import Conv, Linear


def initial_attributes(rule: str, stage: Union[Conv, Linear], channels: int) -> dict[str, Any]:
    """Paddle's `weight_attr` and `bias_attr` for a convolution or linear layer that reads `channels` channels.

    - `paddle`: Paddle's own defaults. A convolution's weights are normal with variance 2 / (channels k²), where
      all channels of the image count, though with groups a filter sees only a part of them: in conv2 of `paddle2`
      the std is 0.0289 and not 0.0408. A linear layer's are Xavier uniform. Biases are 0.
    - `torch`: PyTorch's default, weights and biases uniform within ±1 / sqrt(fan_in), where fan_in counts what a
      filter sees.
    - `normal` and `truncated_normal` (cut at two std, as TensorFlow's): the stage's std, or Xavier uniform where it
      has none, and its constant bias.
    """
    if rule == "paddle":
        return {}
    if rule == "torch":
        fan_in = channels // stage.groups * stage.kernel_size**2 if isinstance(stage, Conv) else stage.in_features
        bound = 1 / sqrt(fan_in)
        weight, bias = initializer.Uniform(-bound, bound), initializer.Uniform(-bound, bound)
    else:
        if stage.std is None:
            weight = initializer.XavierUniform()
        else:
            weight = initializer.Normal(0.0, stage.std) if rule == "normal" else _truncated_normal(stage.std)
        bias = initializer.Constant(stage.bias)
    return {
        "weight_attr": paddle.ParamAttr(initializer=weight),
        "bias_attr": paddle.ParamAttr(initializer=bias),
    }


def _truncated_normal(std: float) -> initializer.Initializer:
    if PADDLE_MAJOR < 3:  # which always cuts at two std
        return initializer.TruncatedNormal(0.0, std)
    return initializer.TruncatedNormal(0.0, std, a=-2 * std, b=2 * std)
