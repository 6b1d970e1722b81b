"""How much padding a stage adds: a convolution zeros, a pool minus infinities."""

from typing import Union

from paddle_alexnet.network.presets import Conv, MaxPool, Padding


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
