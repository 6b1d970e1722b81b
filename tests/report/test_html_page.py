"""The report of a run: what it says, that nothing is missing from it, and how a browser shows it."""

import base64
import html
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade_run import NAMES
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.report.html_page import write_report
from paddle_alexnet.report.run_summary import read_run

_VOID = {"meta", "img"}
UNDISTORTED = """return [...document.images].every(
    image => Math.abs(image.clientHeight / image.clientWidth * image.naturalWidth / image.naturalHeight - 1) < 0.02)"""
TICKS_INSIDE = "return [...document.querySelectorAll('svg text')].every(t => t.getBoundingClientRect().x > 0)"
NO_HOLE = """const right = place => Math.round(place.getBoundingClientRect().right);
    const lines = Object.values(Object.fromEntries(  // the last chart of each line
        [...document.querySelectorAll(".charts figure")].map(figure => [figure.offsetTop, right(figure)])));
    return lines.every(end => end === lines[0])"""


class Page(HTMLParser):
    """The elements of a page; an assertion where they are not closed in the order in which they were opened."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def whole_run(run_folder, checkpoint):
    """The run by hand with a best model."""
    shutil.copytree(checkpoint, run_folder.best)
    return run_folder


def shown(page):
    """The text of a page."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_report_has_every_part_and_loads_nothing(whole_run):
    text = write_report(read_run(whole_run.path)).read_text()
    page = Page(text)
    assert not page.all("script") and not page.all("link")
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert links and all(link.startswith("data:image/") for link in links)
    for link in links:
        with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as image:
            image.load()
    assert "url(" not in text and "@import" not in text


def test_report_has_the_figures_of_the_run_folder(whole_run):
    run = read_run(whole_run.path)
    text = shown(write_report(run).read_text())
    assert f"{100 * run.validation.top1:.1f}\N{NO-BREAK SPACE}%" in text
    assert f"{run.validation.loss:.4f}" in text
    assert "95 % interval: 39.1 to 86.2\N{NO-BREAK SPACE}%" in text  # of 8 right among 12
    assert "Epoch 2 has the lowest mean validation loss" in text
    for name in NAMES:  # what looks like HTML is shown as it is
        assert name in text
    for row in run.validation.mistakes:
        assert row["filename"] in text
    assert f"train -c '{whole_run.config}'" in text  # quoted, for there is a blank in it
    assert "32 filters of 11×11 weights" in text
    assert run.environment["processor"] in text


def test_the_chart_marks_the_best_epoch(whole_run):
    text = write_report(read_run(whole_run.path)).read_text()
    assert "validation, epoch 2: 1.25" in text
    assert "validation, epoch 1: nan" not in text
    assert text.count("<svg") == 3  # with the learning rate, which changes


def test_settings_that_are_not_the_defaults_stand_out(whole_run):
    page = write_report(read_run(whole_run.path)).read_text()
    changed = page[page.index("Settings that differ from") : page.index("All settings")]
    assert re.findall("<code>(.*?)</code>", changed) == ["model.preset"]


@pytest.mark.parametrize("missing", ["best", "validation", "metrics", "environment"])
def test_a_folder_with_less_in_it_gives_a_page_with_less(whole_run, missing):
    place = getattr(whole_run, missing)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    text = write_report(read_run(whole_run.path)).read_text()
    Page(text)
    said = {
        "best": "there is no model",
        "validation": "no predictions",
        "metrics": "Confusion",
        "environment": "Filters",
    }
    assert said[missing] in text


def test_predictions_of_another_epoch_are_called_so(whole_run):
    figures = whole_run.validation / "figures.json"
    figures.write_text(figures.read_text().replace('"epoch": 3', '"epoch": 1'))
    assert "from epoch 1, not from the best model" in write_report(read_run(whole_run.path)).read_text()


@pytest.mark.parametrize("name", ["config", "metrics", "environment"])
def test_a_damaged_file_is_one_line(run_folder, name):
    getattr(run_folder, name).write_text("[1")
    with pytest.raises(UserError, match=f"{getattr(run_folder, name).name}"):
        read_run(run_folder.path)


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        read_run(tmp_path)


def test_report_in_a_browser_fits_light_dark_and_phone(whole_run, browser, tmp_path):
    report, paper = write_report(read_run(whole_run.path)), {}
    for name, width, dark in (("light", 1200, False), ("dark", 1200, True), ("phone", 360, False)):
        browser.open(report, width=width, dark=dark)
        assert browser.run("return document.documentElement.scrollWidth") <= width, name
        assert browser.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)"), name
        assert browser.run(UNDISTORTED), name
        assert browser.run(NO_HOLE), name
        assert browser.run(TICKS_INSIDE), name
        assert browser.console() == [], name
        browser.screenshot(tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            paper[name] = np.asarray(image.convert("L"))[2, 2]
    assert paper["dark"] < 30 < 220 < paper["light"] == paper["phone"]
