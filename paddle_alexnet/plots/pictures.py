"""Pictures of what a network does: confusion matrix, mistakes, filters of the first layer."""

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

MOST_NAMED = 30  # classes: of more, neither names nor numbers can be read

_ACROSS, _TILE, _GAP, _TEXT = 6, 160, 12, 44  # of the sheet of mistakes: tiles across, and pixels
_PAPER, _INK, _RIGHT, _WRONG = "#ffffff", "#1f2328", "#1a7f37", "#b3261e"
_LABEL = 200  # pixels that the name of a class may take beside a confusion matrix
_BLUES = (  # of ColorBrewer, from light to dark
    *((247, 251, 255), (222, 235, 247), (198, 219, 239), (158, 202, 225), (107, 174, 214)),
    *((66, 146, 198), (33, 113, 181), (8, 81, 156), (8, 48, 107)),
)


def draw_confusion(place: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix [C, C] as a PNG, each row's shares as shades. Raises UserError if that cannot be done."""
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
    """Draw images as the network sees them on one PNG, each with what it is and what it was taken for.

    Raises UserError if it cannot be written; an image that cannot be read is left blank.
    """
    deep = max(1, math.ceil(len(images) / _ACROSS))
    size = (_GAP + _ACROSS * (_TILE + _GAP), _GAP + deep * (_TILE + _TEXT + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for n, (path, caption) in enumerate(zip(images, captions)):
        left, top, right, bottom = _tile(n)
        try:
            sheet.paste(Image.fromarray(preprocess(path)).resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, top))
        except UserError:
            draw.rectangle((left, top, right - 1, bottom - 1), fill="#d0d7de")
        for line, (text, ink) in enumerate(zip(caption, (_RIGHT, _WRONG))):
            draw_text(draw, (left, bottom + 4 + 18 * line), text, size=13, ink=ink, room=_TILE)
    if not images:
        draw_text(draw, (_GAP, _GAP), "no mistakes", size=13, ink=_INK)
    save_image(place, sheet)


def read_mistakes(place: Path, count: int) -> list[bytes]:
    """The first `count` images that `draw_mistakes` drew, each as a JPEG. Raises OSError if they are not there."""
    with Image.open(place, formats=["PNG"]) as sheet:
        return [encoded(sheet.crop(_tile(n)), "JPEG") for n in range(count)]


def filter_grid(weights: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H, W, 4], of the filters [N, 3, K, K] of a first layer: a pixel a weight, 16 across, gray is 0.

    Each filter is scaled by its own largest weight.
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
    """The bytes of an image's file."""
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def _tile(n: int) -> tuple[int, int, int, int]:
    """Where the n-th image lies on the sheet of mistakes: left, top, right, bottom."""
    left, top = _GAP + n % _ACROSS * (_TILE + _GAP), _GAP + n // _ACROSS * (_TILE + _TEXT + _GAP)
    return left, top, left + _TILE, top + _TILE
