"""Initial weights of a run: drawn by the preset, found by k-means, or taken from an earlier model."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError

_log = logging.getLogger(__name__)


class InitialWeights(Protocol):
    """What a new run begins with."""

    def set(self, network: AlexNet, loader: Loader) -> None:
        """Set the weights of a network that the preset has drawn; `loader` gives its training images."""


class Drawn:
    """The weights that the preset draws."""

    def set(self, network: AlexNet, loader: Loader) -> None:
        """Leave them as they are."""


class KMeans:
    """Filters found by k-means among patches of the training images, see `kmeans_initialization.py`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def set(self, network: AlexNet, loader: Loader) -> None:
        from paddle_alexnet.training.kmeans_initialization import IMAGES, find_first_weights

        find_first_weights(network, loader.sample(IMAGES), seed=self.seed)


class Pretrained:
    """The weights of an earlier model, except a last layer of other classes, which stays as it is drawn."""

    def __init__(self, path: Path, network: AlexNet, metadata: Metadata, classes: ClassList) -> None:
        self.path, self.network, self.classes = path, network, classes
        self.metadata = metadata

    def set(self, network: AlexNet, loader: Loader) -> None:
        self.check_scale(loader.preprocess)
        weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        if self.metadata.classes not in (self.classes, ClassList.unnamed(len(self.classes))):
            from paddle_alexnet.weights.layout import layers

            last, own = layers(network.preset)[-1], network.state_dict()
            weights.update({name: own[name].numpy() for name in (f"{last.key}.weight", f"{last.key}.bias")})
            _log.info(
                f"{last.name} is drawn new, for {network.num_classes} classes: {self.path} is of "
                f"{self.network.num_classes} others"
            )
        load_weights(network, weights, source=str(self.path))

    def check_scale(self, preprocess: Preprocess) -> None:
        """Raise UserError if the model expects input of another scale than `preprocess` gives."""
        theirs = self.metadata.preprocess
        if theirs.mean_image and preprocess.mean_image:  # each the mean of its own data set
            theirs = replace(theirs, mean=preprocess.mean)
        if not np.allclose([theirs.mean, theirs.std], [preprocess.mean, preprocess.std], rtol=1e-3):
            mean, std = ([float(f"{value:.6g}") for value in values] for values in (theirs.mean, theirs.std))
            how = "pixel" if theirs.mean_image else "given"
            raise UserError(
                f"{self.path}: expects other input: set data.normalize={how}, data.mean={mean} and data.std={std}"
            )


def choose_initial_weights(config: Config, table: ImageTable) -> InitialWeights:
    """Choose what a config begins with, and read the model that `model.weights` names.

    If the model's classes are not the table's, the last layer stays as the preset draws it. Classes without names, as
    converted weights have, are the table's if their number is.

    Raises:
        UserError: The model is damaged, of another preset, or expects input of another scale than is given.
    """
    if config.model.weights is None:
        return KMeans(config.train.seed) if config.model.initialization == "kmeans" else Drawn()
    weights = Path(config.model.weights)
    network, metadata = load_checkpoint(weights)
    if metadata.model.preset != config.model.preset:
        raise UserError(f"{weights}: is a {metadata.model.preset}, the config says model.preset={config.model.preset}")
    pretrained = Pretrained(weights, network, metadata, table.classes)
    if config.data.normalize == "given":  # known before an image is read
        pretrained.check_scale(
            replace(metadata.preprocess, mean=config.data.mean, std=config.data.std, mean_image=None)
        )
    return pretrained
