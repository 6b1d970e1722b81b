"""Drawings of the confusion matrix, the mistakes and the filters of the first layer."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.plots.fonts import draw_text, drawable_names, text_image, text_width
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.output_files import save_image

MOST_NAMED = 30  # classes with readable names and numbers in the matrix

_ACROSS, _TILE, _GAP, _TEXT = 6, 160, 12, 44  # sheet of mistakes: tiles across, and pixels
_PAPER, _INK, _RIGHT, _WRONG = "#ffffff", "#1f2328", "#1a7f37", "#b3261e"
_LABEL = 200  # pixels for a class name beside a confusion matrix
_BLUES = (  # ColorBrewer, light to dark
    *((247, 251, 255), (222, 235, 247), (198, 219, 239), (158, 202, 225), (107, 174, 214)),
    *((66, 146, 198), (33, 113, 181), (8, 81, 156), (8, 48, 107)),
)


def draw_confusion(place: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix [C, C] as a PNG file, with shades for each row's shares."""
    count, named = len(names), len(names) <= MOST_NAMED
    cell = 50 if named else max(1, 900 // count)
    step = 1 if named else math.ceil(count / 10)
    texts = drawable_names(names) if named else map(str, range(count))
    marks = {n: text for n, text in enumerate(texts) if n % step == 0}
    margin = 60 + math.ceil(max(min(_LABEL, text_width(text, 14)) for text in marks.values()))
    side = count * cell
    title = f"confusion matrix, {confusion.sum()} images"
    width = 24 + max(margin + side, math.ceil(text_width(title, 16)))
    sheet = Image.new("RGB", (width, 60 + side + margin), _PAPER)
    draw, left, top = ImageDraw.Draw(sheet), margin, 50
    draw_text(draw, (12, 14), title, size=16, ink=_INK)
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    levels = [np.interp(shares, np.linspace(0, 1, len(_BLUES)), plane) for plane in zip(*_BLUES)]
    shades = Image.fromarray(np.stack(levels, axis=-1).round().astype(np.uint8))
    sheet.paste(shades.resize((side, side), Image.Resampling.NEAREST), (left, top))
    draw.rectangle((left - 1, top - 1, left + side, top + side), outline=_INK)
    for n, text in marks.items():
        middle = (n + 0.5) * cell
        draw_text(draw, (left - 10, top + middle - 9), text, size=14, ink=_INK, room=_LABEL, right=True)
        turned = text_image(text, size=14, ink=_INK, paper=_PAPER, room=_LABEL).rotate(90, expand=True)
        sheet.paste(turned, (round(left + middle - turned.width / 2), top + side + 10))
    draw_text(draw, (left + side / 2 - 40, sheet.height - 30), "predicted", size=14, ink=_INK)
    turned = text_image("label", size=14, ink=_INK, paper=_PAPER, room=_LABEL).rotate(90, expand=True)
    sheet.paste(turned, (12, round(top + side / 2 - turned.height / 2)))
    if named:
        for (row, column), number in np.ndenumerate(confusion):
            ink, text = _PAPER if shares[row, column] > 0.5 else _INK, str(number)
            if number:
                at = (left + (column + 0.5) * cell - text_width(text, 13) / 2, top + (row + 0.5) * cell - 8)
                draw_text(draw, at, text, size=13, ink=ink)
    save_image(place, sheet)


def draw_mistakes(
    place: Path, images: Sequence[Path], captions: Sequence[tuple[str, str]], preprocess: Preprocess
) -> None:
    """Draw preprocessed images with captions (label, prediction) on one PNG file, unreadable ones blank."""
    deep = max(1, math.ceil(len(images) / _ACROSS))
    size = (_GAP + _ACROSS * (_TILE + _GAP), _GAP + deep * (_TILE + _TEXT + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for n, (path, caption) in enumerate(zip(images, captions)):
        left, top, right, bottom = _tile(n)
        try:
            sheet.paste(
                Image.fromarray(preprocess.pixels(path)).resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, top)
            )
        except UserError:
            draw.rectangle((left, top, right - 1, bottom - 1), fill="#d0d7de")
        for line, (text, ink) in enumerate(zip(caption, (_RIGHT, _WRONG))):
            draw_text(draw, (left, bottom + 4 + 18 * line), text, size=13, ink=ink, room=_TILE)
    if not images:
        draw_text(draw, (_GAP, _GAP), "no mistakes", size=13, ink=_INK)
    save_image(place, sheet)


def read_mistakes(place: Path, count: int) -> list[bytes]:
    """Return the first `count` images of a sheet by `draw_mistakes`, as JPEG files."""
    with Image.open(place, formats=["PNG"]) as sheet:
        return [encoded(sheet.crop(_tile(n)), "JPEG") for n in range(count)]


def filter_grid(weights: np.ndarray) -> np.ndarray:
    """Return an image, uint8 [H, W, 4], of filters [N, 3, K, K]: 16 across, one pixel per weight, gray for 0.

    Each filter is scaled by its largest weight.
    """
    count, _, side, _ = weights.shape
    across = 16
    grid = np.zeros((math.ceil(count / across) * (side + 1) - 1, across * (side + 1) - 1, 4), np.uint8)
    for n, weight in enumerate(weights):
        row, column = n // across * (side + 1), n % across * (side + 1)
        levels = 127.5 * (1 + weight / max(float(np.abs(weight).max()), 1e-12))
        grid[row : row + side, column : column + side, :3] = levels.round().transpose(1, 2, 0)
        grid[row : row + side, column : column + side, 3] = 255
    return grid


def encoded(image: Image.Image, form: str) -> bytes:
    """Return an image as the content of a file."""
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def _tile(n: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the n-th image on the sheet of mistakes."""
    left, top = _GAP + n % _ACROSS * (_TILE + _GAP), _GAP + n // _ACROSS * (_TILE + _TEXT + _GAP)
    return left, top, left + _TILE, top + _TILE
