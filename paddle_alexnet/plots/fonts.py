"""Text in images, drawn with fonts of Matplotlib and the system that have all its characters."""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

# Left-to-right scripts whose letters depend on their neighbors.
_SHAPED = (range(0x0900, 0x0E00), range(0x0F00, 0x10A0), range(0x1780, 0x18B0))
_NO_LETTERS = ("lastresort", "adobeblank", "emoji")  # fonts with squares, blanks or bitmaps for all characters
_UNUSUAL = ("bold", "italic", "oblique", "black", "light", "thin", "condensed", "narrow", "mono", "serif")

Run = tuple[str, str]  # a part of a text and its font file


def can_draw(text: str) -> bool:
    """Return whether the installed fonts and libraries can draw a text."""
    return _runs(_plain(text)) is not None


def drawable_names(names: Sequence[str]) -> list[str]:
    """Return class names for drawing, with `class N` (from 0) for a name that no font can draw."""
    return [name if can_draw(name) else f"class {n}" for n, name in enumerate(names)]


def legend(names: Sequence[str]) -> str:
    """Return the names behind the numbers of `drawable_names`, such as `class 0: 犬`; empty if there are none."""
    return ", ".join(f"{shown}: {name}" for name, shown in zip(names, drawable_names(names)) if name != shown)


def text_width(text: str, size: int) -> float:
    """Return the width in pixels of a line of text drawn by `draw_text`."""
    return sum(_font(file, size).getlength(part) for part, file in _drawn(text))


def draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    *,
    size: int,
    ink: str,
    room: float = float("inf"),
    right: bool = False,
) -> float:
    """Draw a line of text, without characters that no font has, and return its width in pixels.

    Args:
        place: Upper left corner, or upper right corner with `right`.
        room: Width in pixels at which an ellipsis cuts the text.
    """
    width = text_width(text, size)
    if width > room:
        while text and text_width(f"{text}…", size) > room:
            text = text[:-1]
        text = f"{text}…"
        width = text_width(text, size)
    left, top = place[0] - (width if right else 0), place[1]
    baseline = top + _font(_first(), size).getmetrics()[0]
    for part, file in _drawn(text):
        font = _font(file, size)
        draw.text((left, baseline), part, ink, font, "ls")
        left += font.getlength(part)
    return width


def text_image(text: str, *, size: int, ink: str, paper: str, room: float) -> Image.Image:
    """Return an image of a line of text."""
    image = Image.new("RGB", (int(min(room, text_width(text, size))) + 1, round(1.4 * size)), paper)
    draw_text(ImageDraw.Draw(image), (0, 0), text, size=size, ink=ink, room=room)
    return image


def _plain(text: str) -> str:
    """Return a text in one line of composed letters; macOS decomposes file names, and few fonts have the parts."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c for c in composed if unicodedata.category(c) != "Cc")


def _drawn(text: str) -> Sequence[Run]:
    runs = _runs(_plain(text))
    if runs is None:
        runs = _runs("".join(c for c in _plain(text) if _runs(c) is not None))
    return runs or ()


@cache
def _runs(text: str) -> "tuple[Run, ...] | None":
    """Return a text in runs of one font each, a single run if possible, or None if fonts are missing."""
    letters = frozenset(c for c in text if not _is_ignorable(c))
    right_to_left = any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text)
    if (right_to_left or any(ord(c) in block for c in text for block in _SHAPED)) and not _can_shape():
        return None
    for file in _fonts():
        if letters <= _characters(file):
            return ((_without_missing(text, file), file),)
    if right_to_left:  # several runs would need reordering
        return None
    runs: list[Run] = []
    for c in text:
        if runs and (_is_ignorable(c) or c in _characters(runs[-1][1])):
            file = runs[-1][1]
        else:
            file = next((file for file in _fonts() if c in _characters(file)), "")
        if not file:
            return None
        runs = [*runs[:-1], (runs[-1][0] + c, file)] if runs and runs[-1][1] == file else [*runs, (c, file)]
    return tuple((_without_missing(part, file), file) for part, file in runs)


def _without_missing(text: str, file: str) -> str:
    return "".join(c for c in text if c in _characters(file))


def _is_ignorable(c: str) -> bool:
    """Return whether a character is invisible, such as a joiner or a variation selector."""
    return unicodedata.category(c) == "Cf" or c in "\ufe0e\ufe0f"


def _can_shape() -> bool:
    return bool(features.check("raqm") and features.check("fribidi"))


def _fonts() -> Iterator[str]:
    """Yield font files, Matplotlib's DejaVu Sans first; Pillow's own font has only English letters."""
    yield _first()
    yield from _system_fonts()


@cache
def _first() -> str:
    from matplotlib import get_data_path

    return str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the system's font files, upright fonts of medium weight first."""
    from matplotlib.font_manager import findSystemFonts  # slow to import

    def order(file: str) -> tuple[int, str]:
        name = Path(file).name.lower()
        return sum(word in name for word in _UNUSUAL), name

    files = (file for file in findSystemFonts() if not any(word in Path(file).name.lower() for word in _NO_LETTERS))
    return tuple(sorted(files, key=order))


@cache
def _characters(file: str) -> frozenset[str]:
    """Return the characters of a font; none if the font is damaged or has no outlines."""
    from matplotlib.ft2font import FT2Font

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _font(file, 13)
            return frozenset(map(chr, FT2Font(file).get_charmap()))
    except Exception:  # a damaged font may raise anything
        return frozenset()


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
