"""Start a run from the weights of an earlier one, or from converted ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from paddle_alexnet.config import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.errors import UserError
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights


@dataclass(frozen=True)
class Start:
    """The network of a checkpoint, and what its images went through."""

    path: Path
    network: AlexNet
    preprocess: Preprocess


def read_start(weights: Path, network: AlexNet, table: ImageTable, data: DataConfig) -> Start:
    """Read the checkpoint that a path means, for `network` to start from.

    Raises UserError if it is damaged, of another preset, of other classes than the data set's, or expects input of
    another scale than is given. Of converted weights whose classes have no names, only the number must be the data
    set's.
    """
    start, metadata = load_checkpoint(weights)
    if metadata.model.preset != network.preset:
        raise UserError(f"{weights}: is a {metadata.model.preset}, the config says model.preset={network.preset}")
    expected, found = len(table.classes), len(metadata.classes)
    if expected != found and metadata.classes == ClassList.unnamed(found):
        raise UserError(
            f"{weights}: has {found} classes, {table.csv} has {expected}: convert the weights again with "
            f"num_classes {expected}"
        )
    if metadata.classes not in (table.classes, ClassList.unnamed(expected)):
        raise UserError(f"{weights}: was trained for other classes than {table.csv} has; their outputs do not match")
    if data.normalise == "given":  # known before a picture is read
        given = replace(metadata.preprocess, mean=data.mean, std=data.std, mean_image=None)
        _check_scale(weights, metadata.preprocess, given)
    return Start(weights, start, metadata.preprocess)


def start_from(start: Start, network: AlexNet, preprocess: Preprocess) -> None:
    """Set the network's weights to those of `start`. Raises UserError if they expect input of another scale."""
    _check_scale(start.path, start.preprocess, preprocess)
    load_weights(
        network, {name: value.numpy() for name, value in start.network.state_dict().items()}, source=str(start.path)
    )


def _check_scale(path: Path, theirs: Preprocess, preprocess: Preprocess) -> None:
    if theirs.mean_image and preprocess.mean_image:  # each the mean of its own data set
        theirs = replace(theirs, mean=preprocess.mean)
    if not np.allclose([theirs.mean, theirs.std], [preprocess.mean, preprocess.std], rtol=1e-3):
        mean, std = ([float(f"{value:.6g}") for value in values] for values in (theirs.mean, theirs.std))
        how = "pixel" if theirs.mean_image else "given"
        raise UserError(f"{path}: expects other input: set data.normalise={how}, data.mean={mean} and data.std={std}")
