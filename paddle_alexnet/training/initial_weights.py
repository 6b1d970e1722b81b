"""Initial weights of a run: random by the preset's rule, k-means filters, or pretrained."""

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
    """A source of initial weights."""

    def set(self, network: AlexNet, loader: Loader) -> None:
        """Set the weights of a network; `loader` has its training images."""


class Drawn:
    """The random weights of the preset."""

    def set(self, network: AlexNet, loader: Loader) -> None:
        """Keep the weights that the network has."""


class KMeans:
    """Filters by k-means of training patches, see `kmeans_initialization.py`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def set(self, network: AlexNet, loader: Loader) -> None:
        from paddle_alexnet.training.kmeans_initialization import IMAGES, find_first_weights

        find_first_weights(network, loader.sample(IMAGES), seed=self.seed)


class Pretrained:
    """The weights of an earlier model; the last layer stays random if the classes differ."""

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
                f"{last.name} is initialized anew for {network.num_classes} classes: {self.path} has "
                f"{self.network.num_classes} other classes"
            )
        load_weights(network, weights, source=str(self.path))

    def check_scale(self, preprocess: Preprocess) -> None:
        """Raise UserError if the model expects other normalization than `preprocess` applies."""
        theirs = self.metadata.preprocess
        if theirs.mean_image and preprocess.mean_image:  # each the mean of its own data set
            theirs = replace(theirs, mean=preprocess.mean)
        if not np.allclose([theirs.mean, theirs.std], [preprocess.mean, preprocess.std], rtol=1e-3):
            mean, std = ([float(f"{value:.6g}") for value in values] for values in (theirs.mean, theirs.std))
            how = "pixel" if theirs.mean_image else "given"
            raise UserError(
                f"{self.path}: requires another normalization; set data.normalize={how}, data.mean={mean} and "
                f"data.std={std}"
            )


def choose_initial_weights(config: Config, table: ImageTable) -> InitialWeights:
    """Choose the initial weights of a config, and read the model that `model.weights` names.

    The last layer stays random if the model's classes differ from the table's. Unnamed classes, as in converted
    weights, match if their number does.

    Raises:
        UserError: The model is damaged, has another preset, or requires another normalization.
    """
    if config.model.weights is None:
        return KMeans(config.train.seed) if config.model.initialization == "kmeans" else Drawn()
    weights = Path(config.model.weights)
    network, metadata = load_checkpoint(weights)
    if metadata.model.preset != config.model.preset:
        theirs, ours = metadata.model.preset, config.model.preset
        raise UserError(f"{weights}: has preset {theirs}, the config {ours}; set model.preset={theirs}")
    pretrained = Pretrained(weights, network, metadata, table.classes)
    if config.data.normalize == "given":  # known before an image is read
        pretrained.check_scale(
            replace(metadata.preprocess, mean=config.data.mean, std=config.data.std, mean_image=None)
        )
    return pretrained
