"""Text in pictures: with fonts of the system if they have its characters, and never squares or warnings."""

import csv
from pathlib import Path

import matplotlib.font_manager
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from handmade_run import METRICS, write_run
from PIL import Image, ImageDraw, ImageFont, features

from paddle_alexnet.datasets.inspect.contact_sheet import draw_sheet
from paddle_alexnet.datasets.inspect.inspection import inspect
from paddle_alexnet.explain.drawing import Row, Tile, sheet
from paddle_alexnet.plots import fonts
from paddle_alexnet.plots.curves import draw_curves
from paddle_alexnet.plots.drawings import draw_confusion
from paddle_alexnet.plots.fonts import can_draw, draw_text, drawable_names, legend, text_width
from paddle_alexnet.report.html_page import write_report
from paddle_alexnet.report.run_summary import read_run
from paddle_alexnet.runs.run_folder import RunFolder


def only(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Let the system have these fonts alone."""
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda *_: list(map(str, files)))
    forget()


def forget() -> None:
    for cached in (fonts._runs, fonts._system_fonts):
        cached.cache_clear()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Twelve pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for n in range(12):
        Image.new("RGB", (40, 30), (20 * n, 90, 90)).save(root / f"{n}.png")
    return root


@pytest.fixture
def bare(monkeypatch):
    """A system without fonts: Matplotlib's own is left."""
    only(monkeypatch)
    yield
    forget()


@pytest.fixture
def with_dog(monkeypatch, tmp_path):
    """A system with a font that has 犬 alone, a triangle as wide as it is high."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((500, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "dog"])
    font.setupCharacterMap({ord("犬"): "dog"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "dog": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "dog": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Dog", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "dog.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    (tmp_path / "LastResort.otf").write_bytes((tmp_path / "dog.ttf").read_bytes())
    only(monkeypatch, tmp_path / "broken.ttf", tmp_path / "LastResort.otf", tmp_path / "dog.ttf")
    yield
    forget()


def drawn(text: str) -> np.ndarray:
    image = Image.new("L", (300, 30), 255)
    draw_text(ImageDraw.Draw(image), (0, 0), text, size=20, ink="black")
    return np.asarray(image)


def test_a_name_that_no_font_has_is_its_number_with_a_legend(bare):
    names = ["Äpfel", "犬", "кот", "हाथी", "🐶 dog"]
    assert drawable_names(names) == ["Äpfel", "class 1", "кот", "class 3", "class 4"]
    assert legend(names) == "class 1: 犬, class 3: हाथी, class 4: 🐶 dog"
    assert legend(["a", "b"]) == ""


def test_letters_are_drawn_and_no_squares(bare):
    square = bytes(ImageFont.truetype(fonts._first(), 20).getmask("\uffff"))
    for letter in "ÄčßØЖΩ…":
        assert can_draw(letter)
        assert bytes(ImageFont.truetype(fonts._first(), 20).getmask(letter)) not in (square, b"")
    assert not can_draw("\uffff") and (drawn("a犬") == drawn("a")).all()  # left out


def test_a_font_of_the_system_is_taken_for_what_the_first_one_lacks(with_dog):
    assert drawable_names(["犬", "犬 dog", "猫"]) == ["犬", "犬 dog", "class 2"]
    assert text_width("犬", 20) == 20  # a square of the size
    both = drawn("犬x犬")
    triangle, gap = drawn("犬")[:, :20], round(text_width("x", 20))
    assert triangle.min() == 0
    np.testing.assert_allclose(both[:, :20], triangle)
    assert abs(both[:, 20 + gap : 40 + gap].mean() - triangle.mean()) < 5


def test_right_to_left_is_drawn_where_pillow_can_shape_it(bare, monkeypatch):
    assert can_draw("كنيسة") == bool(features.check("raqm") and features.check("fribidi"))
    monkeypatch.setattr(fonts, "_can_shape", lambda: False)
    forget()
    assert not can_draw("كنيسة") and can_draw("dog")


def test_parts_of_letters_lines_and_control_characters_are_one_line(bare):
    assert text_width("A\u0308 b\n\tc\x07", 20) == text_width("Ä b c", 20)
    assert can_draw("a\u200db\ufe0f")


def test_a_text_is_cut_to_its_room(bare):
    room = 100
    image = Image.new("L", (300, 30), 255)
    assert draw_text(ImageDraw.Draw(image), (200, 0), "x" * 99, size=20, ink="black", room=room, right=True) <= room
    inked = np.flatnonzero((np.asarray(image) < 128).any(axis=0))
    assert inked[0] >= 100 and inked[-1] <= 200


def test_every_picture_is_drawn_without_a_warning(bare, tmp_path):
    """Warnings are errors in tests, and Matplotlib warns of each missing glyph."""
    names = ("犬", "हाथी", "$x_1$ & Äpfel")
    root = tmp_path / "写真"
    root.mkdir()
    lines = ["filename,label,split"]
    for n, name in enumerate(names):
        Image.new("RGB", (30, 20), (60 * n, 90, 90)).save(root / f"{n}.png")
        lines.append(f"{n}.png,{name},train")
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    said = draw_sheet(inspect(root), tmp_path / "sheet.png")
    assert "犬" in said and "हाथी" in said and "Äpfel" not in said
    draw_confusion(tmp_path / "confusion.png", np.eye(3, dtype=int), names)
    (tmp_path / "metrics.csv").write_text(METRICS.replace("photographs", str(root)), encoding="utf-8")
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert sheet([Row(names[0], [Tile(Image.new("RGB", (5, 5)), names[1])])]).width > 0


def test_numbers_in_a_run_are_explained_in_its_table_and_its_page(bare, tmp_path, pictures):
    run = RunFolder(tmp_path / "run")
    write_run(run, pictures, names=("犬", "b", "c"))
    with (run.validation / "classes.csv").open(encoding="utf-8", newline="") as stream:
        assert [(row["class"], row["label"]) for row in csv.DictReader(stream)] == [("0", "犬"), ("1", "b"), ("2", "c")]
    assert "class 0: 犬." in write_report(read_run(run.path)).read_text(encoding="utf-8")
