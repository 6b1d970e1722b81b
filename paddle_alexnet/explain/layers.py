"""Outputs of a network's layers by the names of its stages, such as conv1 and relu1."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import paddle

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import LRN, Conv, Linear


@contextmanager
def watch(network: AlexNet, names: Sequence[str]) -> Iterator[dict[str, paddle.Tensor]]:
    """Yield a dictionary that each forward pass fills with the outputs of the named layers; not thread-safe."""
    seen: dict[str, paddle.Tensor] = {}

    def keep(name: str, output: paddle.Tensor) -> None:
        seen[name] = output

    hooks = [
        layer.register_forward_post_hook(lambda _, __, output, name=stage.name: keep(name, output))
        for stage, layer in network.named_layers()
        if stage.name in names
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def rectified_convolutions(network: AlexNet) -> list[str]:
    """Return the name of the ReLU after each convolution, relu1 to relu5."""
    return [f"relu{stage.name.removeprefix('conv')}" for stage in network.stages if isinstance(stage.stage, Conv)]


def last_hidden_layer(network: AlexNet) -> str:
    """Return the name of the ReLU before the last linear layer: relu7, or relu6 if fc7 is dead."""
    linear = [stage.name.removeprefix("fc") for stage in network.stages if isinstance(stage.stage, Linear)]
    return f"relu{linear[-3 if 'dead_fc2' in network.quirks else -2]}"


def normalizations(network: AlexNet) -> list[tuple[str, str]]:
    """Return the name of each LRN layer, after the name of the layer before it."""
    names = [stage.name for stage in network.stages]
    return [(names[n - 1], stage.name) for n, stage in enumerate(network.stages) if n and isinstance(stage.stage, LRN)]
