"""Heat maps, overlays, and sheets of images in rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image, ImageDraw

from paddle_alexnet.plots.fonts import draw_text, text_width

# Matplotlib's inferno: dark to light in even steps of lightness.
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
_BAR, _NUMBERS = 14, 76  # widths of a color scale and of its labels
_PAPER, _INK, _FAINT = "#ffffff", "#1f2328", "#59636e"

# Left, top, right and bottom of a part of an image, relative to its width and height.
Part = tuple[float, float, float, float]
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


class Tile(NamedTuple):
    """An image on a sheet, and the line below it."""

    picture: Image.Image
    caption: str = ""


class Row(NamedTuple):
    """A row of a sheet, the line above it, and the labels of both ends of its color scale."""

    title: str
    tiles: Sequence[Tile]
    scale: Optional[tuple[str, str]] = None


def colored(levels: np.ndarray) -> np.ndarray:
    """Return the colors, uint8 [H, W, 3], of levels [H, W] from 0 (dark) to 1 (light)."""
    at = np.linspace(0, 1, len(_PALETTE))
    planes = [np.interp(levels, at, _PALETTE[:, channel]) for channel in range(3)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def scaled(values: np.ndarray, top: float = 0.0) -> np.ndarray:
    """Return values divided by `top` (default: the largest) and clipped to 0..1; all 0 if none is positive."""
    top = top or float(values.max(initial=0))
    return np.clip(values / top, 0, 1) if top > 0 else np.zeros(values.shape, np.float32)


def onto(values: np.ndarray, size: tuple[int, int], part: Part = WHOLE) -> np.ndarray:
    """Resize a map [h, w] of the network's input to the original image.

    Args:
        size: Width and height of the image in pixels.
        part: Part of the image that the network sees.

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
    """Overlay a map [h, w] of a `part` on the image: gray if the map is 0, pale outside the part."""
    levels = _levels(heat, image, part)[..., None]
    pixels = np.asarray(image.convert("RGB"))
    gray = pixels.mean(axis=2, keepdims=True)
    share = 0.75 * np.sqrt(np.nan_to_num(levels))
    drawn = (1 - share) * gray + share * colored(np.nan_to_num(levels[..., 0]))
    return Image.fromarray(np.where(np.isnan(levels), 160 + 0.37 * gray, drawn).round().astype(np.uint8))


def heat_map(image: Image.Image, heat: np.ndarray, part: Part = WHOLE) -> Image.Image:
    """Draw a map [h, w] of a `part` in the image's size, pale outside the part."""
    levels = _levels(heat, image, part)
    drawn = colored(np.nan_to_num(levels))
    return Image.fromarray(np.where(np.isnan(levels)[..., None], np.uint8(225), drawn))


def _levels(heat: np.ndarray, image: Image.Image, part: Part) -> np.ndarray:
    """Return a map on an image's pixels, with its largest value scaled to 1."""
    return onto(scaled(heat), image.size, part)


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Scale an image's longer side to `side` pixels, with nearest neighbor if it is smaller than a tile."""
    scale = side / max(image.size)
    how = Image.Resampling.NEAREST if max(image.size) < _TILE else Image.Resampling.LANCZOS
    width, height = (max(1, round(scale * length)) for length in image.size)
    return image.convert("RGB").resize((width, height), how)


def map_picture(values: np.ndarray, top: float = 0.0) -> Image.Image:
    """Draw a map [h, w] with one pixel per cell, scaled by `scaled`."""
    return Image.fromarray(colored(scaled(values, top)))


def sheet(rows: Sequence[Row], *, side: int = _TILE) -> Image.Image:
    """Draw rows of images on a sheet, each `fitted` to `side` pixels."""
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
