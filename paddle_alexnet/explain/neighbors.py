"""Nearest neighbors in the last hidden layer (Krizhevsky et al. 2012, figure 4)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import paddle

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.explain.layers import last_hidden_layer, watch
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import available_cores


class Neighbor(NamedTuple):
    """An image of the gallery, its label and its Euclidean distance in the last hidden layer."""

    path: Path
    label: str
    distance: float


@dataclass(frozen=True)
class Gallery:
    """Images with their labels, and their features in the last hidden layer, float32 [N, F]."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    features: np.ndarray

    def nearest(self, features: np.ndarray, count: int, *, but: Optional[Path] = None) -> list[Neighbor]:
        """Return the `count` images nearest to features [F], nearest first, except the image at path `but`."""
        distances = np.sqrt(((self.features - features) ** 2).sum(axis=1))
        same = but.resolve() if but is not None else None
        ordered = (n for n in np.argsort(distances, kind="stable") if self.paths[n].resolve() != same)
        return [Neighbor(self.paths[n], self.labels[n], float(distances[n])) for n in islice(ordered, count)]


def hidden_features(network: AlexNet, image: np.ndarray) -> np.ndarray:
    """Return the output of the last hidden layer, float32 [N, F], for images [N, 3, S, S]."""
    layer = last_hidden_layer(network)
    with paddle.no_grad(), watch(network, [layer]) as seen:
        network(paddle.to_tensor(image))
    return np.asarray(seen[layer].numpy())


def choose_gallery(
    metadata: Metadata, *, split: str, most: int, root: Optional[Path] = None, csv: Optional[Path] = None
) -> list[tuple[Path, str]]:
    """Return at most `most` images of a split with their labels, spread evenly over its rows.

    Raises:
        UserError: The data set in `root`, by default the model's, is not found.
    """
    table = read_table(*metadata.origin.dataset(root, csv), metadata.classes)
    rows = table.rows(split)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]
    return [(table.root / table.filenames[row], table.classes.names[table.labels[row]]) for row in rows]


def read_gallery(
    network: AlexNet, preprocess: Preprocess, pictures: Iterable[tuple[Path, str]], *, batch_size: int = 32
) -> Iterator[tuple[list[tuple[Path, str]], np.ndarray]]:
    """Yield batches of images with their features [N, F], without unreadable images."""

    def decode(picture: tuple[Path, str]) -> tuple[tuple[Path, str], Optional[np.ndarray]]:
        try:
            return picture, preprocess.pixels(picture[0])
        except UserError:
            return picture, None

    workers = available_cores()
    with closing(in_threads(decode, pictures, workers=workers, ahead=2 * batch_size)) as decoded:
        while batch := list(islice(decoded, batch_size)):
            readable = [(picture, image) for picture, image in batch if image is not None]
            if readable:
                images = preprocess.batch(np.stack([image for _, image in readable]))
                yield [picture for picture, _ in readable], hidden_features(network, images)


def gather(batches: Iterable[tuple[Sequence[tuple[Path, str]], np.ndarray]]) -> Gallery:
    """Return the gallery of all batches of `read_gallery`. Raise UserError if no image is readable."""
    pictures: list[tuple[Path, str]] = []
    features: list[np.ndarray] = []
    for part, found in batches:
        pictures += part
        features.append(found)
    if not pictures:
        raise UserError("split: no image is readable; name another split or root")
    return Gallery(tuple(path for path, _ in pictures), tuple(label for _, label in pictures), np.concatenate(features))
