"""Checkpoints: weights that are saved atomically and loaded without running code from the file."""

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np
import paddle
from paddle import nn

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import Model, read_model, write_model
from paddle_alexnet.system.errors import MissingFileError, UserError

WEIGHTS = "weights.pdparams"


def save_checkpoint(place: Path, network: nn.Layer, metadata: Metadata, *, aside: bool = False) -> None:
    """Write a checkpoint folder with `weights.pdparams`, which `paddle.load` can read, and metadata (`write_model`)."""
    write_model(
        place,
        replace(metadata, kind="checkpoint"),
        lambda folder: paddle.save(network.state_dict(), str(folder / WEIGHTS)),
        aside=aside,
    )


def load_checkpoint(
    path: Union[str, os.PathLike[str]], metadata: Optional[Metadata] = None
) -> tuple[AlexNet, Metadata]:
    """Load the trained network of a run or a checkpoint, in evaluation mode, and its metadata.

    Args:
        path: A run or a checkpoint.
        metadata: The checkpoint's metadata, if it is read already.

    Raises:
        UserError: The checkpoint is damaged or does not fit its metadata.
    """
    model = read_model(path, metadata)
    return restore(model), model.metadata


def restore(model: Model) -> AlexNet:
    """Return the network of a checkpoint in evaluation mode. Raises UserError if the weights do not match."""
    if model.metadata.kind != "checkpoint":
        raise UserError(f"{model.path}: is an exported model without loadable weights; name a run or a checkpoint")
    source = model.path / WEIGHTS
    if WEIGHTS not in model.files:
        raise MissingFileError(f"{source}: file of the model not found; copy the whole folder")
    network = AlexNet.build(model.metadata.model)
    load_weights(network, read_pdparams(io.BytesIO(model.files[WEIGHTS]), source=source), source=str(model.path))
    network.eval()
    return network


def load_weights(network: AlexNet, weights: Mapping[str, np.ndarray], *, source: str) -> None:
    """Set every parameter of the network. Raises UserError like `check_weights`."""
    check_weights(network, weights, source=source)
    network.set_state_dict(dict(weights))


def check_weights(network: AlexNet, weights: Mapping[str, np.ndarray], *, source: str) -> None:
    """Raise UserError that lists each array that does not match the network or is not finite.

    A network with NaN may give finite outputs, because Paddle's `relu(NaN)` is 0 and its pooling ignores NaN.
    """
    from paddle_alexnet.weights.layout import check_finite

    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    faults = [
        f"{name} is {found.get(name, 'missing')}, must be {expected.get(name, 'absent')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    faults += [
        f"{name} is {value.dtype}, must be float32" for name, value in weights.items() if value.dtype != np.float32
    ]
    if faults:
        raise UserError(f"{source}: weights do not match the network: {'; '.join(faults)}; choose others")
    check_finite(weights, network.preset, source=source)


def read_pdparams(stream: BinaryIO, *, source: Path) -> dict[str, np.ndarray]:
    """Read named arrays from the content of a `.pdparams` file.

    Unlike `paddle.load`, which unpickles, this function runs no code from the file.

    Raises:
        UserError: The content is damaged or has more than arrays in containers; the message names `source`.
    """
    from paddle_alexnet.weights.unpickle import load_pdparams

    try:
        state = load_pdparams(stream)
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{source}: is damaged or not a weight file ({error}); choose another") from None
    return {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
