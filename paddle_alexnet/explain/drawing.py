"""Maps as colors, and pictures in rows on a sheet."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image, ImageDraw

from paddle_alexnet.plots.fonts import draw_text, text_width

# From dark to light, evenly in lightness, after Matplotlib's inferno.
_PALETTE = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)
_TILE, _GAP, _LINE = 132, 10, 19  # pixels
_BAR, _NUMBERS = 14, 76  # of a scale of colors: its width, and that of the numbers beside it
_PAPER, _INK, _FAINT = "#ffffff", "#1f2328", "#59636e"

# A part of an image as shares of its width and height: left, top, right, bottom.
Part = tuple[float, float, float, float]
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


class Tile(NamedTuple):
    """A picture on a sheet, and the line below it."""

    picture: Image.Image
    caption: str = ""


class Row(NamedTuple):
    """A row of a sheet, the line above it, and the numbers at the low and the high end of its scale of colors."""

    title: str
    tiles: Sequence[Tile]
    scale: Optional[tuple[str, str]] = None


def colored(levels: np.ndarray) -> np.ndarray:
    """Levels [H, W] of 0 (dark) to 1 (light) as colors, uint8 [H, W, 3]."""
    at = np.linspace(0, 1, len(_PALETTE))
    planes = [np.interp(levels, at, _PALETTE[:, channel]) for channel in range(3)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def scaled(values: np.ndarray, top: float = 0.0) -> np.ndarray:
    """Values as levels of 0 to 1, where 1 is `top` or else the largest; all 0 where none is positive."""
    top = top or float(values.max(initial=0))
    return np.clip(values / top, 0, 1) if top > 0 else np.zeros(values.shape, np.float32)


def onto(values: np.ndarray, size: tuple[int, int], part: Part = WHOLE) -> np.ndarray:
    """Lay a map [h, w] of what a network sees onto the image that it sees a part of.

    Args:
        size: Width and height of the image in pixels.
        part: What the network sees of it.

    Returns:
        float32 [height, width], linear between the centers of the cells, NaN outside the part.
    """
    found = []
    for cells, pixels, first, last in zip(values.shape, size[::-1], part[1::-1], part[:1:-1]):
        share = ((np.arange(pixels) + 0.5) / pixels - first) / (last - first)
        weights = np.stack([np.interp(share * cells - 0.5, np.arange(cells), row) for row in np.eye(cells)], axis=1)
        weights[(share < 0) | (share > 1)] = np.nan
        found.append(weights.astype(np.float32))
    rows, columns = found
    outside = np.isnan(rows[:, :1]) | np.isnan(columns[:, 0])
    return np.where(
        outside, np.float32("nan"), np.nan_to_num(rows) @ values.astype(np.float32) @ np.nan_to_num(columns).T
    )


def overlay(image: Image.Image, heat: np.ndarray, part: Part = WHOLE) -> Image.Image:
    """Lay a map [h, w] over the image whose part it is of: gray where the map is 0, pale where nothing is seen."""
    levels = _levels(heat, image, part)[..., None]
    pixels = np.asarray(image.convert("RGB"))
    gray = pixels.mean(axis=2, keepdims=True)
    share = 0.75 * np.sqrt(np.nan_to_num(levels))
    drawn = (1 - share) * gray + share * colored(np.nan_to_num(levels[..., 0]))
    return Image.fromarray(np.where(np.isnan(levels), 160 + 0.37 * gray, drawn).round().astype(np.uint8))


def heat_map(image: Image.Image, heat: np.ndarray, part: Part = WHOLE) -> Image.Image:
    """Draw a map [h, w] alone, in the size of the image whose part it is of; pale where nothing is seen."""
    levels = _levels(heat, image, part)
    drawn = colored(np.nan_to_num(levels))
    return Image.fromarray(np.where(np.isnan(levels)[..., None], np.uint8(225), drawn))


def _levels(heat: np.ndarray, image: Image.Image, part: Part) -> np.ndarray:
    """A map on an image's pixels, of 0 to 1 where its largest value is 1."""
    return onto(scaled(heat), image.size, part)


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Scale an image so that its longer side has so many pixels; cell by cell if it has fewer than a tile."""
    scale = side / max(image.size)
    how = Image.Resampling.NEAREST if max(image.size) < _TILE else Image.Resampling.LANCZOS
    width, height = (max(1, round(scale * length)) for length in image.size)
    return image.convert("RGB").resize((width, height), how)


def map_picture(values: np.ndarray, top: float = 0.0) -> Image.Image:
    """A map [h, w] as a picture of a pixel a cell, scaled as `scaled` does."""
    return Image.fromarray(colored(scaled(values, top)))


def sheet(rows: Sequence[Row], *, side: int = _TILE) -> Image.Image:
    """Lay pictures in rows on paper, each `fitted` to a longer side of so many pixels."""
    drawn = [[fitted(tile.picture, side) for tile in row.tiles] for row in rows]
    lines = [1 + any(tile.caption for tile in row.tiles) for row in rows]
    heights = [max(picture.height for picture in pictures) for pictures in drawn]
    widths = [
        sum(picture.width + _GAP for picture in pictures) + (_BAR + _NUMBERS if row.scale else 0)
        for row, pictures in zip(rows, drawn)
    ]
    titles = [math.ceil(text_width(row.title, 13)) + _GAP for row in rows]
    height = _GAP + sum(high + line * _LINE + _GAP for high, line in zip(heights, lines))
    paper = Image.new("RGB", (_GAP + max(*widths, *titles), height), _PAPER)
    draw, top = ImageDraw.Draw(paper), _GAP
    for row, pictures, high, line in zip(rows, drawn, heights, lines):
        draw_text(draw, (_GAP, top), row.title, size=13, ink=_INK)
        left = _GAP
        for tile, picture in zip(row.tiles, pictures):
            paper.paste(picture, (left, top + _LINE))
            at = (left, top + _LINE + high + 2)
            draw_text(draw, at, tile.caption, size=11, ink=_FAINT, room=picture.width)
            left += picture.width + _GAP
        if row.scale:
            bar = np.repeat(colored(np.linspace(1, 0, high)[:, None]), _BAR, axis=1)
            paper.paste(Image.fromarray(bar), (left, top + _LINE))
            for text, y in zip(row.scale, (high - 14, 0)):
                draw_text(draw, (left + _BAR + 4, top + _LINE + y), text, size=11, ink=_INK, room=_NUMBERS - 4)
        top += high + line * _LINE + _GAP
    return paper
