"""Start a run from the weights of an earlier one, or from converted ones."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.weights.layouts import layers

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The network of a checkpoint, what its images went through, and whether its last layer is of other classes."""

    path: Path
    network: AlexNet
    preprocess: Preprocess
    new_last_layer: bool


def read_start(weights: Path, network: AlexNet, table: ImageTable, data: DataConfig) -> Start:
    """Read the checkpoint that a path means, for `network` to start from.

    If its classes are not the data set's, the last layer keeps the weights that `network` has. Classes without names,
    as converted weights have, are the data set's if their number is.

    Raises UserError if it is damaged, of another preset, or expects input of another scale than is given.
    """
    start, metadata = load_checkpoint(weights)
    if metadata.model.preset != network.preset:
        raise UserError(f"{weights}: is a {metadata.model.preset}, the config says model.preset={network.preset}")
    others = metadata.classes not in (table.classes, ClassList.unnamed(len(table.classes)))
    if data.normalize == "given":  # known before a picture is read
        given = replace(metadata.preprocess, mean=data.mean, std=data.std, mean_image=None)
        _check_scale(weights, metadata.preprocess, given)
    return Start(weights, start, metadata.preprocess, others)


def start_from(start: Start, network: AlexNet, preprocess: Preprocess) -> None:
    """Set the network's weights to the ones of `start`, except a last layer of other classes.

    Raises UserError if they expect input of another scale.
    """
    _check_scale(start.path, start.preprocess, preprocess)
    state = {name: value.numpy() for name, value in start.network.state_dict().items()}
    if start.new_last_layer:
        last, own = layers(network.preset)[-1], network.state_dict()
        state.update({name: own[name].numpy() for name in (f"{last.key}.weight", f"{last.key}.bias")})
        _log.info(
            f"{last.name} is drawn new, for {network.num_classes} classes: {start.path} is of "
            f"{start.network.num_classes} others"
        )
    load_weights(network, state, source=str(start.path))


def _check_scale(path: Path, theirs: Preprocess, preprocess: Preprocess) -> None:
    if theirs.mean_image and preprocess.mean_image:  # each the mean of its own data set
        theirs = replace(theirs, mean=preprocess.mean)
    if not np.allclose([theirs.mean, theirs.std], [preprocess.mean, preprocess.std], rtol=1e-3):
        mean, std = ([float(f"{value:.6g}") for value in values] for values in (theirs.mean, theirs.std))
        how = "pixel" if theirs.mean_image else "given"
        raise UserError(f"{path}: expects other input: set data.normalize={how}, data.mean={mean} and data.std={std}")
