"""Maps as colours, and pictures in rows on a sheet."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from paddle_alexnet.fonts import draw_text, text_width

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
_PAPER, _INK, _FAINT = "#ffffff", "#1f2328", "#59636e"


class Tile(NamedTuple):
    """A picture on a sheet, and the line below it."""

    picture: Image.Image
    caption: str = ""


class Row(NamedTuple):
    """A row of a sheet, and the line above it."""

    title: str
    tiles: Sequence[Tile]


def coloured(levels: np.ndarray) -> np.ndarray:
    """Levels [H, W] of 0 (dark) to 1 (light) as colours, uint8 [H, W, 3]."""
    at = np.linspace(0, 1, len(_PALETTE))
    planes = [np.interp(levels, at, _PALETTE[:, channel]) for channel in range(3)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def scaled(values: np.ndarray, top: float = 0.0) -> np.ndarray:
    """Values as levels of 0 to 1, where 1 is `top` or else the largest; all 0 where none is positive."""
    top = top or float(values.max(initial=0))
    return np.clip(values / top, 0, 1) if top > 0 else np.zeros(values.shape, np.float32)


def enlarged(values: np.ndarray, side: int) -> np.ndarray:
    """A map [h, w] at [side, side], linear between the centres of its cells."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def overlay(pixels: np.ndarray, heat: np.ndarray) -> Image.Image:
    """A map [h, w] over the image uint8 [S, S, 3] that it is of, which is grey where the map is 0."""
    levels = scaled(enlarged(heat, len(pixels)))[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    share = 0.75 * np.sqrt(levels)
    return Image.fromarray(((1 - share) * grey + share * coloured(levels[..., 0])).round().astype(np.uint8))


def map_picture(values: np.ndarray, top: float = 0.0) -> Image.Image:
    """A map [h, w] as a picture of a pixel a cell, scaled as `scaled` does."""
    return Image.fromarray(coloured(scaled(values, top)))


def sheet(rows: Sequence[Row]) -> Image.Image:
    """Pictures in rows on paper; what has fewer pixels than a tile is enlarged cell by cell."""
    across = max(len(row.tiles) for row in rows)
    lines = [1 + any(tile.caption for tile in row.tiles) for row in rows]
    width, height = _GAP + across * (_TILE + _GAP), _GAP + sum(_TILE + line * _LINE + _GAP for line in lines)
    paper = Image.new("RGB", (max(width, *(_GAP * 2 + int(text_width(row.title, 13)) for row in rows)), height), _PAPER)
    draw, top = ImageDraw.Draw(paper), _GAP
    for row, line in zip(rows, lines):
        draw_text(draw, (_GAP, top), row.title, size=13, ink=_INK)
        for n, (picture, caption) in enumerate(row.tiles):
            left = _GAP + n * (_TILE + _GAP)
            how = Image.Resampling.NEAREST if picture.width < _TILE else Image.Resampling.LANCZOS
            paper.paste(picture.convert("RGB").resize((_TILE, _TILE), how), (left, top + _LINE))
            draw_text(draw, (left, top + _LINE + _TILE + 2), caption, size=11, ink=_FAINT, room=_TILE)
        top += _TILE + line * _LINE + _GAP
    return paper
