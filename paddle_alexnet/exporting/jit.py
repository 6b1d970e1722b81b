"""Export to a Paddle Inference program with `paddle.jit`."""

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

from paddle_alexnet.exporting.convolutions import with_fast_convolutions
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata


def save_program(network: AlexNet, metadata: Metadata, folder: Path) -> None:
    """Write `model.*`: images float32 [N, 3, S, S] to the output [N, C] that `metadata` describes.

    Raises:
        OSError: The disk is full, which `paddle.jit.save` does not report.
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
        raise OSError(errno.ENOSPC, "model.pdiparams is truncated; the disk may be full")


@contextmanager
def _sources_in(folder: Path) -> Iterator[None]:
    """Let Paddle write traced sources to `folder`, not the home folder, which may be read-only.

    Paddle (2.6.2, 3.3) always writes to `~/.cache/paddle/to_static_tmp`, and executes the file's content.
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
    """Release the scopes of `paddle.jit.save`, which Paddle else keeps with their weights."""
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
