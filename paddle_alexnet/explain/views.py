"""Views of a network and an image: Grad-CAM, occlusion, filters, feature maps, LRN and nearest neighbors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import paddle
from PIL import Image

from paddle_alexnet.data.preprocess import Preprocess, Source
from paddle_alexnet.explain.attribution import by_pixel, grad_cam, occlusion, starts_of
from paddle_alexnet.explain.drawing import (
    WHOLE,
    Part,
    Row,
    Tile,
    colored,
    fitted,
    heat_map,
    map_picture,
    onto,
    overlay,
    scaled,
    sheet,
)
from paddle_alexnet.explain.layers import normalizations, rectified_convolutions, watch
from paddle_alexnet.explain.neighbors import Gallery, hidden_features
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.plots.drawings import filter_grid
from paddle_alexnet.plots.fonts import drawable_names
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.system.errors import UserError

_SIDE = 384  # pixels of the longer side of an image in heat maps


@dataclass(frozen=True)
class Subject:
    """An image with its preprocessed pixels, probabilities and the class to explain."""

    network: AlexNet
    metadata: Metadata
    pixels: np.ndarray  # uint8 [S, S, 3]
    image: np.ndarray  # float32 [3, S, S], the network's input
    probabilities: np.ndarray  # float32 [C]
    label: int
    original: Image.Image  # RGB, upright
    part: Part = WHOLE  # the part of `original` that the network sees
    path: Optional[Path] = None

    @property
    def name(self) -> str:
        """The class name with its probability."""
        return self._with_probability(self.metadata.classes.names[self.label])

    @property
    def drawn_name(self) -> str:
        """The same for drawings: `class N` if no font can draw the name."""
        return self._with_probability(drawable_names(self.metadata.classes.names)[self.label])

    def _with_probability(self, name: str) -> str:
        return f"{name} {100 * self.probabilities[self.label]:.1f} %"


@dataclass(frozen=True)
class Occlusion:
    """The probability of a class that covering a square of the input takes away."""

    lost: np.ndarray  # float32 [S, S], the mean probability lost under the squares that cover a pixel
    square: int  # pixels
    worst: tuple[int, int]  # top and left of the square with the largest loss
    left: float  # probability with that square covered


@dataclass(frozen=True)
class Map:
    """A feature map [h, w] of a layer, and its channel."""

    channel: int
    values: np.ndarray


def look_at(
    network: AlexNet, metadata: Metadata, image: Source, *, label: Optional[str] = None, path: Optional[Path] = None
) -> Subject:
    """Return a subject for an image and a class, by default the most probable one.

    Raises:
        UserError: The image is unreadable, or the model lacks the class.
    """
    preprocess: Preprocess = metadata.preprocess
    pixels = preprocess.pixels(image)
    read = preprocess.batch(pixels[None])
    with paddle.no_grad():
        probabilities = paddle.nn.functional.softmax(network(paddle.to_tensor(read)))[0].numpy()
    chosen = int(probabilities.argmax()) if label is None else class_index(metadata, label)
    original = preprocess.original(image)
    return Subject(
        network, metadata, pixels, read[0], probabilities, chosen, original, part_seen(preprocess, original), path
    )


def part_seen(preprocess: Preprocess, original: Image.Image) -> Part:
    """Return the part of an upright image that the network sees."""
    width, height = original.size
    left, top, right, bottom = preprocess.seen(width, height)
    return left / width, top / height, right / width, bottom / height


def class_index(metadata: Metadata, label: str) -> int:
    """Return the index of a class by name or wnid. Raise UserError if the model lacks the class."""
    index = metadata.classes.index()
    if label not in index:
        names = ", ".join(metadata.classes.names[:5])
        raise UserError(f"class {label!r}: not found in the model; name one of {names}{', …' * (len(index) > 5)}")
    return index[label]


def filters(network: AlexNet) -> Image.Image:
    """Draw the filters of the first convolution, each scaled by its largest weight; gray is 0."""
    weights = next(value for value in network.state_dict().values() if len(value.shape) == 4)
    grid = Image.fromarray(filter_grid(weights.numpy()))
    return grid.resize((4 * grid.width, 4 * grid.height), Image.Resampling.NEAREST)


def heat(subject: Subject) -> np.ndarray:
    """Return Grad-CAM of the subject's class, float32 [h, w]."""
    return grad_cam(subject.network, subject.image[None], [subject.label])[0]


def find_occlusion(subject: Subject, *, square: Optional[int] = None, stride: Optional[int] = None) -> Occlusion:
    """Return the occlusion by a `square` (default: a sixth of the input's side) in steps of `stride` (a third)."""
    side = len(subject.pixels)
    square = min(side, square or max(1, side // 6))
    stride = stride or max(1, square // 3)
    kept = occlusion(subject.network, subject.image, subject.label, square=square, stride=stride)
    full = float(subject.probabilities[subject.label])
    lost = by_pixel(np.maximum(full - kept, 0), side, square=square, stride=stride)
    starts = starts_of(side, square, stride)
    top, left = (starts[at] for at in np.unravel_index(kept.argmin(), kept.shape))
    return Occlusion(lost, square, (top, left), float(kept.min()))


def on_original(subject: Subject, values: np.ndarray) -> np.ndarray:
    """Return a map [h, w] on the original image's pixels, float32 [H, W], NaN outside the network's input."""
    return onto(values, subject.original.size, subject.part)


def strongest_maps(subject: Subject, count: int) -> dict[str, list[Map]]:
    """Return the `count` rectified maps with the largest means, by convolution, strongest first."""
    layers = rectified_convolutions(subject.network)
    with paddle.no_grad(), watch(subject.network, layers) as seen:
        subject.network(paddle.to_tensor(subject.image[None]))
    found = {}
    for layer in layers:
        maps = seen[layer][0].numpy()
        order = np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:count]
        found[layer.replace("relu", "conv")] = [Map(int(channel), maps[channel]) for channel in order]
    return found


def draw_grad_cam(subject: Subject, found: Optional[np.ndarray] = None) -> Image.Image:
    """Draw Grad-CAM of the subject's class (default: computed here) over the original image."""
    found = heat(subject) if found is None else found
    image = fitted(subject.original, _SIDE)
    tiles = [
        Tile(image, "image"),
        Tile(overlay(image, found, subject.part), "Grad-CAM overlay; gray is 0"),
        Tile(heat_map(image, found, subject.part), f"Grad-CAM, interpolated from {_cells(found)} cells"),
    ]
    scale = ("0", f"{found.max():.3g}")
    return sheet([Row(f"{subject.drawn_name}: Grad-CAM{_unseen(subject)}", tiles, scale)], side=_SIDE)


def draw_occlusion(subject: Subject, found: Optional[Occlusion] = None) -> Image.Image:
    """Draw the occlusion of the subject's class (default: computed here) over the original image."""
    found = find_occlusion(subject) if found is None else found
    image = fitted(subject.original, _SIDE)
    side, lost, (left, top, right, bottom) = len(subject.pixels), found.lost, subject.part
    (row, column), covered = found.worst, image.copy()
    x, more_x = (round(image.width * (left + (right - left) * at / side)) for at in (column, column + found.square))
    y, more_y = (round(image.height * (top + (bottom - top) * at / side)) for at in (row, row + found.square))
    covered.paste(_mean_color(subject.metadata.preprocess), (x, y, more_x, more_y))
    tiles = [
        Tile(image, "image"),
        Tile(covered, f"square with the largest loss: {100 * found.left:.1f} % left"),
        Tile(overlay(image, lost, subject.part), f"loss under {found.square}×{found.square} of {side}×{side} pixels"),
        Tile(heat_map(image, lost, subject.part), "loss without the image"),
    ]
    scale = ("0", f"{100 * lost.max():.1f} points")
    return sheet([Row(f"{subject.drawn_name}: occlusion{_unseen(subject)}", tiles, scale)], side=_SIDE)


def draw_maps(subject: Subject, *, count: int = 8) -> Image.Image:
    """Draw the strongest maps of each convolution, each scaled by its peak."""
    return sheet(
        [
            Row(
                f"{layer}: strongest maps, {_cells(maps[0].values)}",
                [Tile(map_picture(one.values), f"channel {one.channel}, peak {one.values.max():.3g}") for one in maps],
            )
            for layer, maps in strongest_maps(subject, count).items()
        ]
    )


def draw_normalization(subject: Subject, *, count: int = 8) -> Optional[Image.Image]:
    """Draw the strongest maps before and after LRN, on the same scale, and their ratio; None without LRN."""
    pairs = normalizations(subject.network)
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
                "after, same scale",
                [Tile(map_picture(np.abs(y[n]), peaks[n]), f"peak {np.abs(y[n]).max():.3g}") for n in channels],
            ),
            Row(
                f"after / before, from {factor.min():.4f} (dark) to {factor.max():.4f}",
                [
                    Tile(Image.fromarray(colored(_between(factor[n], factor))), f"at least {factor[n].min():.4f}")
                    for n in channels
                ],
            ),
        ]
    return sheet(rows)


def draw_neighbors(subject: Subject, gallery: Gallery, *, count: int = 6) -> Image.Image:
    """Draw the image and its nearest images of a gallery in the last hidden layer (2012, figure 4)."""
    features = hidden_features(subject.network, subject.image[None])[0]
    near = gallery.nearest(features, count, but=subject.path)
    classes = subject.metadata.classes.names
    shown = dict(zip(classes, drawable_names(classes)))
    tiles = [Tile(subject.original, subject.drawn_name)]
    for one in near:
        picture = subject.metadata.preprocess.original(one.path)
        tiles.append(Tile(picture, f"{one.distance:.3g}  {shown.get(one.label, one.label)}"))
    return sheet(
        [Row(f"image, and its nearest of {len(gallery.paths)} images in the last hidden layer, by distance", tiles)]
    )


def _between(values: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return values scaled to 0..1 between the minimum and maximum of `every`."""
    low = float(every.min())
    return scaled(values - low, float(every.max()) - low)


def _mean_color(preprocess: Preprocess) -> tuple[int, ...]:
    return tuple(round(255 * value) for value in preprocess.mean)


def _unseen(subject: Subject) -> str:
    return "" if subject.part == WHOLE else "; pale: not seen by the network"


def _cells(values: np.ndarray) -> str:
    return f"{values.shape[0]}×{values.shape[1]}"
