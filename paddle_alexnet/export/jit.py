"""The network as a program of `paddle.jit`, `model.*`."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import paddle
from paddle import nn
from paddle.base import core
from paddle.jit.dy2static import utils
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
    with _scopes_released(), _sources_in(folder):
        paddle.jit.save(traced, str(folder / "model"), input_spec=[spec])
    weights = sum(4 * value.size for _, layer in network.computing_layers() for value in layer.parameters())
    if (folder / "model.pdiparams").stat().st_size < weights:
        raise OSError(errno.ENOSPC, "model.pdiparams is not whole: is the disk full?")


@contextmanager
def _sources_in(folder: Path) -> Iterator[None]:
    """Have Paddle write the sources that it traces there, not into the home folder, which may be read-only.

    Paddle (2.6.2, 3.3) has `~/.cache/paddle/to_static_tmp` fixed in its code, and runs what it finds in the file.
    """
    usual = utils.get_temp_dir
    with TemporaryDirectory(prefix=".", dir=folder) as sources:
        utils.get_temp_dir = lambda: sources
        try:
            yield
        finally:
            utils.get_temp_dir = usual


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
