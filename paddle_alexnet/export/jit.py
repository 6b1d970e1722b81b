"""The network as a program of `paddle.jit`, `model.*`."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.base import core
from paddle.static import InputSpec

from paddle_alexnet.export.convolutions import with_fast_convolutions
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata


def save_program(network: AlexNet, metadata: Metadata, folder: Path) -> None:
    """Write `model.*`: image float32 [N, 3, S, S] to what the metadata say is the output, [N, C].

    S and N are those of the metadata, N any number where they say none. Raises OSError where the disk is full, of which
    `paddle.jit.save` says nothing.
    """
    size = metadata.preprocess.image_size
    traced: nn.Layer = with_fast_convolutions(network, size)
    if metadata.output == "probabilities":
        traced = nn.Sequential(traced, nn.Softmax())
        traced.eval()
    spec = InputSpec([metadata.batch_size, 3, size, size], "float32", "image")
    with _scopes_released():
        paddle.jit.save(traced, str(folder / "model"), input_spec=[spec])
    weights = sum(4 * value.size for _, layer in network.computing_layers() for value in layer.parameters())
    if (folder / "model.pdiparams").stat().st_size < weights:
        raise OSError(errno.ENOSPC, "model.pdiparams is not whole: is the disk full?")


@contextmanager
def _scopes_released() -> Iterator[None]:
    """Let go of the scopes that `paddle.jit.save` makes: Paddle keeps each, and the weights in it, for ever."""
    make, made = core.Scope, []

    def remembered() -> Any:
        made.append(make())
        return made[-1]

    core.Scope = remembered
    try:
        yield
    finally:
        core.Scope = make
        for scope in made:
            scope._remove_from_pool()
