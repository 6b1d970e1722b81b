"""Weights of a run: saved whole, loaded without running code from the file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from paddle_alexnet.errors import UserError
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.model_folder import Metadata, read_folder, write_folder
from paddle_alexnet.weights.unpickle import load_pdparams

WEIGHTS = "weights.pdparams"


def save_checkpoint(place: Path, network: nn.Layer, metadata: Metadata) -> None:
    """Write a checkpoint folder: `weights.pdparams`, which `paddle.load` reads too, and metadata."""
    write_folder(
        place,
        replace(metadata, kind="checkpoint"),
        lambda folder: paddle.save(network.state_dict(), str(folder / WEIGHTS)),
    )


def load_checkpoint(path: Path) -> tuple[AlexNet, Metadata]:
    """The trained network, in evaluation mode, and what is known of it.

    `path` is a run or a checkpoint. Raises UserError if it is damaged or does not fit its metadata.
    """
    place, metadata = read_folder(path)
    if metadata.kind != "checkpoint":
        raise UserError(f"{path}: an exported model, which has no weights to load; name a run or a checkpoint")
    return restore(place, metadata), metadata


def restore(place: Path, metadata: Metadata) -> AlexNet:
    """The network of a checkpoint folder that `read_folder` has checked, in evaluation mode."""
    network = AlexNet(metadata.preset, len(metadata.classes), metadata.lrn, quirks=metadata.quirks)
    load_weights(network, read_pdparams(place / WEIGHTS), source=str(place))
    network.eval()
    return network


def load_weights(network: nn.Layer, weights: Mapping[str, np.ndarray], *, source: str) -> None:
    """Set every parameter of the network. Raises UserError that lists each one that does not fit."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    faults = [
        f"{name} is {found.get(name, 'missing')}, must be {expected.get(name, 'absent')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if faults:
        raise UserError(f"{source}: its weights do not fit the network: {'; '.join(faults)}")
    network.set_state_dict(dict(weights))


def read_pdparams(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from a `.pdparams` file.

    `paddle.load` unpickles, and so runs whatever code the file holds. This reads only what an
    honest file holds: arrays, tuples and dictionaries. Raises UserError for anything else.
    """
    try:
        state = load_pdparams(path)
    except OSError as error:
        raise UserError(f"{path}: cannot read the weights ({error})") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{path}: not a weights file, or a damaged one ({error})") from None
    return {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
