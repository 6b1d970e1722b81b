"""Text in pictures, drawn with fonts of Matplotlib and of the system that have its characters; never a square."""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

# Scripts whose letters change places or shapes beside each other, besides those that run from right to left.
_SHAPED = (range(0x0900, 0x0E00), range(0x0F00, 0x10A0), range(0x1780, 0x18B0))
_NO_LETTERS = ("lastresort", "adobeblank", "emoji")  # in names of fonts: squares, blanks or bitmaps for every character
_UNUSUAL = ("bold", "italic", "oblique", "black", "light", "thin", "condensed", "narrow", "mono", "serif")

Run = tuple[str, str]  # a part of a text, and the file of its font


def can_draw(text: str) -> bool:
    """Return whether there are fonts here with every character of a text, and what it takes to shape it."""
    return _runs(_plain(text)) is not None


def drawable_names(names: Sequence[str]) -> list[str]:
    """Return the names of classes as pictures show them: a name that no font has is `class N`, from 0."""
    return [name if can_draw(name) else f"class {n}" for n, name in enumerate(names)]


def legend(names: Sequence[str]) -> str:
    """Return what the numbers of `drawable_names` stand for, such as `class 0: 犬`; empty if there are none."""
    return ", ".join(f"{shown}: {name}" for name, shown in zip(names, drawable_names(names)) if name != shown)


def text_width(text: str, size: int) -> float:
    """Return the width of a line of text in pixels, as `draw_text` draws it."""
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
    """Draw a line of text from its upper left corner, or upper right with `right`, cut with an ellipsis to `room`.

    Characters that no font has are left out: ask `can_draw` first.

    Returns:
        Its width in pixels.
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
    """Return a line of text as an image of its own, to be turned."""
    image = Image.new("RGB", (int(min(room, text_width(text, size))) + 1, round(1.4 * size)), paper)
    draw_text(ImageDraw.Draw(image), (0, 0), text, size=size, ink=ink, room=room)
    return image


def _plain(text: str) -> str:
    """A text in one line, its letters composed: macOS names files in parts of letters, which few fonts have."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c for c in composed if unicodedata.category(c) != "Cc")


def _drawn(text: str) -> Sequence[Run]:
    runs = _runs(_plain(text))
    if runs is None:
        runs = _runs("".join(c for c in _plain(text) if _runs(c) is not None))
    return runs or ()


@cache
def _runs(text: str) -> "tuple[Run, ...] | None":
    """A text in runs of one font each: one for the whole of it if there is one; None without fonts for it."""
    letters = frozenset(c for c in text if not _is_ignorable(c))
    right_to_left = any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text)
    if (right_to_left or any(ord(c) in block for c in text for block in _SHAPED)) and not _can_shape():
        return None
    for file in _fonts():
        if letters <= _characters(file):
            return ((_without_missing(text, file), file),)
    if right_to_left:  # runs would have to change places
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
    """Whether a character shows nothing itself, such as a joiner or the choice of a variant."""
    return unicodedata.category(c) == "Cf" or c in "\ufe0e\ufe0f"


def _can_shape() -> bool:
    return bool(features.check("raqm") and features.check("fribidi"))


def _fonts() -> Iterator[str]:
    """Files of fonts, DejaVu Sans of Matplotlib first: Pillow's own font has English letters alone."""
    yield _first()
    yield from _system_fonts()


@cache
def _first() -> str:
    from matplotlib import get_data_path

    return str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _system_fonts() -> tuple[str, ...]:
    """The system's fonts, upright ones of medium weight first."""
    from matplotlib.font_manager import findSystemFonts  # slow to import

    def order(file: str) -> tuple[int, str]:
        name = Path(file).name.lower()
        return sum(word in name for word in _UNUSUAL), name

    files = (file for file in findSystemFonts() if not any(word in Path(file).name.lower() for word in _NO_LETTERS))
    return tuple(sorted(files, key=order))


@cache
def _characters(file: str) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read, or has no outlines."""
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
