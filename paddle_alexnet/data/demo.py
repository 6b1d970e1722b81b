"""The embedded demo set: ten classes of drawn patterns, which require no download.

Only shape distinguishes the classes: colors, scale, angle and position have the same distributions in all of them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.splits import split_sizes
from paddle_alexnet.data.table import write_tables
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.files import atomic_folder
from paddle_alexnet.system.progress import progress

DEMO_NAME = "embedded demo set"

_SIZE = 224
_FINE = 2  # oversampling, for smooth edges


def draw_demo(root: Path, *, images_per_class: int = 100, seed: int = 0) -> None:
    """Draw 224×224 JPEGs into a new folder, with labels.csv and classes.txt; split each class 70/10/20.

    The same seed gives the same bytes.

    Raises:
        UserError: The folder is not empty or cannot be written.
    """
    rows = []
    for index, name in enumerate(_PATTERNS):
        sizes = split_sizes(images_per_class)
        splits = np.random.default_rng([seed, index]).permutation(np.repeat(list(sizes), list(sizes.values())))
        rows += [(f"images/{name}/{name}_{i:03d}.jpg", name, str(split)) for i, split in enumerate(splits)]

    def draw(row: int) -> None:
        filename, name, _ = rows[row]
        image = Image.fromarray(_draw(name, np.random.default_rng([seed, len(_PATTERNS), row])))
        image.save(folder / filename, quality=90)

    with atomic_folder(root) as folder:
        for name in _PATTERNS:
            (folder / "images" / name).mkdir(parents=True)
        for _ in progress(in_threads(draw, range(len(rows)), workers=2), what="draw", total=len(rows)):
            pass
        write_tables(folder, rows=rows, classes=ClassList.from_lines(list(_PATTERNS), DEMO_NAME))


def demo_picture(name: str, *, seed: int) -> Image.Image:
    """Return an image of a demo class, 224×224, that is not in the demo set."""
    return Image.fromarray(_draw(name, np.random.default_rng([seed, len(_PATTERNS) + 1, 0])))


def is_demo(classes: ClassList) -> bool:
    """Return whether these are the classes of the demo set."""
    return classes.names == tuple(_PATTERNS)


def _draw(name: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one image of a class, uint8 [224, 224, 3]."""
    line = np.linspace(-1, 1, _SIZE * _FINE, dtype=np.float32)
    center = rng.uniform(-0.4, 0.4, size=2).astype(np.float32)
    across, down = line - center[0], line[:, None] - center[1]
    cells, angle = rng.uniform(1.8, 2.8), rng.uniform(-0.4, 0.4)  # cells in half the width
    cos, sin = np.float32(cells * np.cos(angle)), np.float32(cells * np.sin(angle))
    drawn = _PATTERNS[name](cos * across - sin * down, sin * across + cos * down, rng)
    smooth = Image.fromarray(drawn.view(np.uint8) * np.uint8(255)).reduce(_FINE)
    mask = np.asarray(smooth, dtype=np.float32) / 255
    figure, ground = _two_colors(rng)
    slope = rng.uniform(-0.15, 0.15, size=2).astype(np.float32)
    light = 1 + slope[0] * line[::_FINE] + slope[1] * line[::_FINE, None]
    noise = rng.integers(-128, 128, size=(3, _SIZE, _SIZE), dtype=np.int8)
    image = np.float32(0.08) * noise.astype(np.float32)  # σ 6; normal noise is six times as slow
    for channel in range(3):  # NumPy is slow along an axis of three
        image[channel] += (ground[channel] + mask * (figure - ground)[channel]) * light
    return np.stack([plane.astype(np.uint8) for plane in image.clip(0, 255, out=image)], axis=-1)


def _two_colors(rng: np.random.Generator) -> np.ndarray:
    """Return two RGB colors of different brightness in random order, [2, 3]."""
    while True:
        colors = rng.uniform(20, 235, size=(2, 3)).astype(np.float32)
        if abs(np.subtract(*colors) @ (0.299, 0.587, 0.114)) > 80:
            return colors


def _in_cell(*coordinates: np.ndarray) -> list[np.ndarray]:
    """Return coordinates relative to the nearest center of the unit grid, in -0.5..0.5."""
    return [values - np.round(values) for values in coordinates]


def _fraction(values: np.ndarray) -> np.ndarray:
    """Return `values % 1`, fifty times as fast as NumPy's operator."""
    return values - np.floor(values)


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(x) < 0.5


def _waves(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(x + 0.35 * np.sin(np.pi * y)) < 0.5


def _rings(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction(np.sqrt(x * x + y * y)) < 0.5


def _spiral(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    arms = rng.choice([-3, -2, 2, 3])
    return _fraction(np.sqrt(x * x + y * y) + arms * np.arctan2(y, x) / (2 * np.pi)) < 0.5


def _checkerboard(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _fraction((np.floor(x) + np.floor(y)) / 2) == 0


def _bricks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    row = 1.3 * y
    along = 0.65 * x + _fraction(np.floor(row) / 2)  # every second row by half a brick
    return (_fraction(row) < 0.75) & (_fraction(along) < 0.85)


def _dots(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across, up = _in_cell(x, y)
    return across * across + up * up < 0.39**2


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
    return np.sum(inside, axis=0) >= 4  # inside all five lines of a pentagram, or outside only one


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
DEMO_CLASSES = tuple(_PATTERNS)
