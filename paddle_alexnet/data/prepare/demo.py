"""The embedded demo set: ten classes of drawn patterns, to try everything without a download.

Shape alone tells the classes apart: colours, scale, angle and position come from the same
distributions for all, and either of the two colours may be the pattern's or the ground's.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.prepare.preparation import write_tables
from paddle_alexnet.data.splits import split_sizes
from paddle_alexnet.files import atomic_folder
from paddle_alexnet.progress import progress

DEMO_NAME = "embedded demo set"

_SIZE = 224
_FINE = 2  # drawn at twice the size and averaged, for smooth edges


def draw_demo(root: Path, *, images_per_class: int = 100, seed: int = 0) -> None:
    """Draw the set into a new folder: images/, labels.csv and classes.txt.

    The images are 224×224 JPEGs, split 70/10/20 within each class; the same seed gives the same
    bytes. Raises UserError where the folder is not empty or cannot be written.
    """
    rows = []
    for index, name in enumerate(_PATTERNS):
        sizes = split_sizes(images_per_class)
        splits = np.random.default_rng([seed, index]).permutation(np.repeat(list(sizes), list(sizes.values())))
        rows += [(f"images/{name}/{name}_{i:03d}.jpg", name, str(split)) for i, split in enumerate(splits)]
    rng = np.random.default_rng(seed)
    with atomic_folder(root) as folder:
        for filename, name, _ in progress(rows, what="draw", total=len(rows)):
            (folder / filename).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_draw(name, rng)).save(folder / filename, quality=90)
        write_tables(folder, rows=rows, classes=ClassList.from_lines(list(_PATTERNS), DEMO_NAME))


def is_demo(classes: ClassList) -> bool:
    """Whether a data set is the demo set, which its class list tells."""
    return classes.names == tuple(_PATTERNS)


def _draw(name: str, rng: np.random.Generator) -> np.ndarray:
    """One image of a class, `[224, 224, 3]` uint8."""
    line = np.linspace(-1, 1, _SIZE * _FINE, dtype=np.float32)
    centre = rng.uniform(-0.4, 0.4, size=2).astype(np.float32)
    across, down = line - centre[0], line[:, None] - centre[1]
    cells, angle = rng.uniform(1.8, 2.8), rng.uniform(-0.4, 0.4)  # cells in half the width
    cos, sin = np.float32(cells * np.cos(angle)), np.float32(cells * np.sin(angle))
    drawn = _PATTERNS[name](cos * across - sin * down, sin * across + cos * down, rng)
    smooth = Image.fromarray(drawn.astype(np.uint8) * 255).reduce(_FINE)
    mask = np.asarray(smooth, dtype=np.float32)[..., None] / 255
    figure, ground = _two_colours(rng)
    slope = rng.uniform(-0.15, 0.15, size=2).astype(np.float32)
    light = 1 + slope[0] * line[::_FINE] + slope[1] * line[::_FINE, None]
    image = (ground + mask * (figure - ground)) * light[..., None]
    image += 6 * rng.standard_normal(image.shape, dtype=np.float32)
    return image.clip(0, 255).astype(np.uint8)


def _two_colours(rng: np.random.Generator) -> np.ndarray:
    """Two RGB colours that differ in brightness, in no order, `[2, 3]`."""
    while True:
        colours = rng.uniform(20, 235, size=(2, 3)).astype(np.float32)
        if abs(np.subtract(*colours) @ (0.299, 0.587, 0.114)) > 80:
            return colours


def _in_cell(*coordinates: np.ndarray) -> list[np.ndarray]:
    """Coordinates from the centre of the nearest cell of the unit grid, in -0.5..0.5."""
    return [values - np.round(values) for values in coordinates]


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x % 1 < 0.5


def _waves(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (x + 0.35 * np.sin(np.pi * y)) % 1 < 0.5


def _rings(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.hypot(x, y) % 1 < 0.5


def _spiral(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    arms = rng.choice([-3, -2, 2, 3])
    return (np.hypot(x, y) + arms * np.arctan2(y, x) / (2 * np.pi)) % 1 < 0.5


def _checkerboard(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (np.floor(x) + np.floor(y)) % 2 == 0


def _bricks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    row = 1.3 * y
    along = 0.65 * x + 0.5 * (np.floor(row) % 2)
    return (row % 1 < 0.75) & (along % 1 < 0.85)


def _dots(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.hypot(*_in_cell(x, y)) < 0.39


def _triangles(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across, up = _in_cell(x, y)
    return (up > -0.44) & (np.abs(across) < 0.5 * (0.46 - up))


def _crosses(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across, up = np.abs(_in_cell(x, y))
    return (np.minimum(across, up) < 0.14) & (np.maximum(across, up) < 0.42)


def _stars(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across, up = _in_cell(x, y)
    turns = 2 * np.pi / 5 * np.arange(5, dtype=np.float32)
    inside = [np.cos(turn) * across + np.sin(turn) * up < 0.16 for turn in turns]
    return np.sum(inside, axis=0) >= 4  # within all five lines of a pentagram, or beyond just one


_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "stripes": _stripes,
    "waves": _waves,
    "rings": _rings,
    "spiral": _spiral,
    "checkerboard": _checkerboard,
    "bricks": _bricks,
    "dots": _dots,
    "triangles": _triangles,
    "crosses": _crosses,
    "stars": _stars,
}
