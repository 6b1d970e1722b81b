"""What can be seen of a trained network and an image, each view a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import paddle
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess, Source
from paddle_alexnet.errors import UserError
from paddle_alexnet.explain.drawing import Row, Tile, coloured, map_picture, overlay, scaled, sheet
from paddle_alexnet.explain.grad_cam import grad_cam
from paddle_alexnet.explain.layers import normalisations, rectified_convolutions, watch
from paddle_alexnet.explain.neighbours import Gallery, hidden_features
from paddle_alexnet.explain.occlusion import by_pixel, occlusion, starts_of
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.report.pictures import filter_grid
from paddle_alexnet.runs.metadata import Metadata


@dataclass(frozen=True)
class Subject:
    """An image as a network sees it, and the class that is looked for in it."""

    network: AlexNet
    metadata: Metadata
    pixels: np.ndarray  # uint8 [S, S, 3]
    image: np.ndarray  # float32 [3, S, S], what the network reads
    probabilities: np.ndarray  # float32 [C]
    label: int
    path: Optional[Path] = None

    @property
    def name(self) -> str:
        """The name of the class, with its probability."""
        return f"{self.metadata.classes.names[self.label]} {100 * self.probabilities[self.label]:.1f} %"


@dataclass(frozen=True)
class Map:
    """A feature map [h, w] of a layer, and its channel."""

    channel: int
    values: np.ndarray


def look_at(
    network: AlexNet, metadata: Metadata, image: Source, *, label: Optional[str] = None, path: Optional[Path] = None
) -> Subject:
    """An image with the class that is looked for: by name, else the most probable one.

    Raises UserError for an image that cannot be read or a class that the network does not know.
    """
    preprocess: Preprocess = metadata.preprocess
    pixels = preprocess(image)
    read = preprocess.batch(pixels[None])
    with paddle.no_grad():
        probabilities = paddle.nn.functional.softmax(network(paddle.to_tensor(read)))[0].numpy()
    chosen = int(probabilities.argmax()) if label is None else class_index(metadata, label)
    return Subject(network, metadata, pixels, read[0], probabilities, chosen, path)


def class_index(metadata: Metadata, label: str) -> int:
    """The index of a class by name or wnid. Raises UserError for another one."""
    index = metadata.classes.index()
    if label not in index:
        names = ", ".join(metadata.classes.names[:5])
        raise UserError(f"class {label!r}: the model has no such class; it has {names}{', …' * (len(index) > 5)}")
    return index[label]


def filters(network: AlexNet) -> Image.Image:
    """The filters of the first convolution, each scaled by its own largest weight, grey is 0."""
    weights = next(value for value in network.state_dict().values() if len(value.shape) == 4)
    grid = Image.fromarray(filter_grid(weights.numpy()))
    return grid.resize((4 * grid.width, 4 * grid.height), Image.Resampling.NEAREST)


def heat(subject: Subject) -> np.ndarray:
    """Grad-CAM of the subject's class, float32 [h, w], 0 or more."""
    return grad_cam(subject.network, subject.image[None], [subject.label])[0]


def strongest_maps(subject: Subject, count: int) -> dict[str, list[Map]]:
    """Of each convolution, by its name, the rectified maps with the largest means, strongest first."""
    layers = rectified_convolutions(subject.network)
    with paddle.no_grad(), watch(subject.network, layers) as seen:
        subject.network(paddle.to_tensor(subject.image[None]))
    found = {}
    for layer in layers:
        maps = seen[layer][0].numpy()
        order = np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:count]
        found[layer.replace("relu", "conv")] = [Map(int(channel), maps[channel]) for channel in order]
    return found


def draw_grad_cam(subject: Subject) -> Image.Image:
    """The image beside its Grad-CAM, for its class."""
    found = heat(subject)
    tiles = [Tile(Image.fromarray(subject.pixels), "the image"), Tile(overlay(subject.pixels, found), "Grad-CAM")]
    return sheet([Row(f"{subject.name}: what speaks for it", [*tiles, Tile(map_picture(found), _cells(found))])])


def draw_occlusion(subject: Subject, *, square: Optional[int] = None, stride: Optional[int] = None) -> Image.Image:
    """The image beside what covering a square of it takes from the class's probability.

    By default the square is a sixth of the image and moves by a third of itself.
    """
    side = len(subject.pixels)
    square = min(side, square or max(1, side // 6))
    stride = stride or max(1, square // 3)
    kept = occlusion(subject.network, subject.image, subject.label, square=square, stride=stride)
    full = float(subject.probabilities[subject.label])
    lost = by_pixel(np.maximum(full - kept, 0), side, square=square, stride=stride)
    starts = starts_of(side, square, stride)
    top, left = (starts[at] for at in np.unravel_index(kept.argmin(), kept.shape))
    covered = subject.pixels.copy()
    covered[top : top + square, left : left + square] = _mean_colour(subject.metadata.preprocess)
    tiles = [
        Tile(Image.fromarray(subject.pixels), f"whole: {100 * full:.1f} %"),
        Tile(overlay(subject.pixels, lost), f"lost under {square}×{square}"),
        Tile(Image.fromarray(covered), f"the worst: {100 * float(kept.min()):.1f} %"),
    ]
    return sheet([Row(f"{subject.metadata.classes.names[subject.label]}: what it cannot do without", tiles)])


def draw_maps(subject: Subject, *, count: int = 8) -> Image.Image:
    """The strongest maps of each convolution, each scaled by its own peak."""
    return sheet(
        [
            Row(
                f"{layer}: strongest of its maps, {_cells(maps[0].values)}",
                [Tile(map_picture(one.values), f"channel {one.channel}, peak {one.values.max():.3g}") for one in maps],
            )
            for layer, maps in strongest_maps(subject, count).items()
        ]
    )


def draw_normalisation(subject: Subject, *, count: int = 8) -> Optional[Image.Image]:
    """What local response normalisation changes: the strongest maps before and after, and the factor between.

    Before and after are on the same scale. None for a network without it.
    """
    pairs = normalisations(subject.network)
    if not pairs:
        return None
    with paddle.no_grad(), watch(subject.network, [name for pair in pairs for name in pair]) as seen:
        subject.network(paddle.to_tensor(subject.image[None]))
    rows = []
    for before, after in pairs:
        x, y = seen[before][0].numpy(), seen[after][0].numpy()
        channels = np.argsort(-np.abs(x).mean(axis=(1, 2)), kind="stable")[:count]
        factor = np.divide(y, x, out=np.ones_like(x), where=x != 0)
        peaks = {channel: float(np.abs(x[channel]).max()) for channel in channels}
        rows += [
            Row(
                f"{after}: before ({before})",
                [Tile(map_picture(np.abs(x[n]), peaks[n]), f"channel {n}, peak {peaks[n]:.3g}") for n in channels],
            ),
            Row(
                "after, on the same scale",
                [Tile(map_picture(np.abs(y[n]), peaks[n]), f"peak {np.abs(y[n]).max():.3g}") for n in channels],
            ),
            Row(
                f"after / before, from {factor.min():.4f} (dark) to {factor.max():.4f}",
                [
                    Tile(Image.fromarray(coloured(_between(factor[n], factor))), f"{factor[n].min():.4f} at least")
                    for n in channels
                ],
            ),
        ]
    return sheet(rows)


def draw_neighbours(subject: Subject, gallery: Gallery, *, count: int = 6) -> Image.Image:
    """The image, and the pictures of a gallery that are nearest to it in the last hidden layer (2012, figure 4)."""
    features = hidden_features(subject.network, subject.image[None])[0]
    near = gallery.nearest(features, count, but=subject.path)
    tiles = [Tile(Image.fromarray(subject.pixels), subject.name)]
    for one in near:
        picture = Image.fromarray(subject.metadata.preprocess(one.path))
        tiles.append(Tile(picture, f"{one.distance:.3g}  {one.label}"))
    return sheet(
        [Row(f"the image, and the nearest of {len(gallery.paths)} in the last hidden layer, by distance", tiles)]
    )


def _between(values: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Values as levels of 0 to 1 between the least and the largest of `every`."""
    low = float(every.min())
    return scaled(values - low, float(every.max()) - low)


def _mean_colour(preprocess: Preprocess) -> np.ndarray:
    return np.round(255 * np.array(preprocess.mean)).astype(np.uint8)


def _cells(values: np.ndarray) -> str:
    return f"{values.shape[0]}×{values.shape[1]}"
