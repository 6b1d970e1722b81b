"""Pictures of what a network does: confusion matrix, mistakes, filters of the first layer."""

import io
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_file

MOST_NAMED = 30  # classes: of more, neither names nor numbers can be read

_ACROSS, _TILE, _GAP, _TEXT = 6, 160, 12, 44  # of the sheet of mistakes: tiles across, and pixels
_PAPER, _INK, _RIGHT, _WRONG = "#ffffff", "#1f2328", "#1a7f37", "#b3261e"


def draw_confusion(place: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix [C, C] as a PNG, each row's shares as shades. Raises UserError if that cannot be done."""
    from matplotlib.figure import Figure  # slow to import

    named = len(names) <= MOST_NAMED
    side = 3 + 0.45 * len(names) if named else 9
    figure = Figure(figsize=(side, side), layout="constrained")
    panel = figure.subplots()
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    panel.set(xlabel="predicted", ylabel="label", title=f"confusion matrix, {confusion.sum()} images")
    if named:
        shown = [_plain(name) for name in names]
        panel.set_xticks(range(len(names)), shown, rotation=45, ha="right")
        panel.set_yticks(range(len(names)), shown)
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                ink = "white" if shares[row, column] > 0.5 else "black"
                panel.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=9)
    with atomic_file(place) as partial:
        figure.savefig(partial, dpi=110, format="png")


def draw_mistakes(
    place: Path, images: Sequence[Path], captions: Sequence[tuple[str, str]], preprocess: Preprocess
) -> None:
    """Draw images as the network sees them on one PNG, each with what it is and what it was taken for.

    Raises UserError if it cannot be written; an image that cannot be read is left blank.
    """
    font = font_of(13)
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
            draw.text((left, bottom + 4 + 18 * line), cut(text, font, _TILE), ink, font)
    if not images:
        draw.text((_GAP, _GAP), "no mistakes", _INK, font)
    with atomic_file(place) as partial:
        sheet.save(partial, "PNG")


def read_mistakes(place: Path, count: int) -> list[bytes]:
    """The first `count` images that `draw_mistakes` drew, each as a JPEG. Raises OSError if they are not there."""
    with Image.open(place, formats=["PNG"]) as sheet:
        return [encoded(sheet.crop(_tile(n)), "JPEG") for n in range(count)]


def filter_grid(weights: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H, W, 4], of the filters [N, 3, K, K] of a first layer: a pixel a weight, 16 across, grey is 0.

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


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font of Matplotlib's pictures, in pixels."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A text, cut to a width in pixels."""
    shown = text
    while font.getlength(shown) > width:
        text = text[:-1]
        shown = f"{text}…"
    return shown


def _plain(name: str) -> str:
    """A class's name as Matplotlib is to draw it: `$` is no formula; cut where it is long."""
    return (name if len(name) <= 24 else f"{name[:23]}…").replace("$", r"\$")
