"""Runs compared: their figures, what differs, and the page."""

import shutil

import pytest
from handmade_run import METRICS, write_run
from helpers import run_tool

from paddle_alexnet import UserError
from paddle_alexnet.report.comparison import compare_runs
from paddle_alexnet.report.html_page import write_comparison
from paddle_alexnet.runs.run_folder import RunFolder


@pytest.fixture
def two_runs(tmp_path, pictures):
    a, b = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    write_run(a, pictures)
    write_run(b, pictures, "optimizer.learning_rate=0.003", f"output={b.path}", "train.epochs=3")
    b.metrics.write_text(METRICS.replace("1.25", "1.125"))
    return a, b


def test_compare_runs_lists_differing_keys_and_the_best_run(two_runs):
    comparison = compare_runs([run.path for run in two_runs])
    assert comparison.names == ("a", "b")
    assert comparison.differing == {"optimizer.learning_rate": ("0.0001", "0.003"), "train.epochs": ("10", "3")}
    assert comparison.figures["val loss"] == ("1.2500", "1.1250")
    assert comparison.figures["epochs"] == ("3 of 10", "3 of 3")
    assert comparison.best == (1,)
    assert comparison.data_sets == (1, 1) and not comparison.warning


def test_folders_of_one_name_are_told_apart(tmp_path, pictures):
    runs = [RunFolder(tmp_path / "x" / "run"), RunFolder(tmp_path / "y" / "run")]
    for run in runs:
        write_run(run, pictures)
    comparison = compare_runs([run.path for run in runs])
    assert comparison.names == tuple(str(run.path) for run in runs)
    assert comparison.differing == {}


def test_a_run_without_an_epoch_is_compared_too(two_runs):
    a, b = two_runs
    a.metrics.unlink()
    comparison = compare_runs([a.path, b.path])
    assert comparison.figures["val loss"] == ("–", "1.1250")
    assert (comparison.data_sets, comparison.best, comparison.warning) == ((None, 1), (), "")


def relabel(run):
    """Have a run validated on other images."""
    table = run.validation / "predictions.csv"
    table.write_text(table.read_text().replace("0.png", "another.png"))


def test_runs_on_different_data_are_not_ranked_against_each_other(two_runs, tmp_path, pictures):
    a, b = two_runs
    c = RunFolder(tmp_path / "c")
    write_run(c, pictures)
    c.metrics.write_text(METRICS.replace("1.25", "0.5"))
    relabel(c)
    comparison = compare_runs([a.path, c.path, b.path])
    assert comparison.data_sets == (1, 2, 1)
    assert comparison.best == (2,)  # c's lower loss is of other images
    assert comparison.figures["data set"] == ("1", "2", "1")
    write_comparison(comparison, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "validated on 2 different sets of images" in text
    assert text.count("<svg") == 8 and text.count("<polyline") == 4 * 3
    assert "Data set 1: <b>b</b> has the lowest" in text and "Data set 2: <b>" not in text
    printed = run_tool("compare", a.path, b.path, c.path, "--output", tmp_path / "page.html").stdout
    assert "warning: the runs were validated on 2 different sets of images" in printed
    assert "lowest val loss on data set 1: b" in printed


def test_without_predictions_the_data_set_that_was_named_decides(two_runs, tmp_path, pictures):
    a, b = two_runs
    shutil.rmtree(b.validation)
    assert compare_runs([a.path, b.path]).data_sets == (1, 1)
    b.metrics.write_text(b.metrics.read_text().replace("photographs", "drawings"))
    assert compare_runs([a.path, b.path]).data_sets == (1, 2)


def test_an_accuracy_has_the_interval_that_its_images_allow(two_runs):
    assert compare_runs([run.path for run in two_runs]).figures["val top-1"][0] == "0.5000 (95 %: 0.254 to 0.746)"


def test_nine_runs_have_nine_different_lines_and_green_means_one_of_them(tmp_path, pictures, browser):
    runs = [RunFolder(tmp_path / f"run-{n}") for n in range(9)]
    for run in runs:
        write_run(run, pictures)
    write_comparison(compare_runs([run.path for run in runs]), tmp_path / "page.html")
    browser.open(tmp_path / "page.html", width=1280)
    script = """const style = place => getComputedStyle(place);
        const lines = [...document.querySelector("svg").querySelectorAll("polyline")].map(
            line => style(line).stroke + style(line).strokeDasharray);
        const words = [...document.querySelectorAll("td, td *, p, p *")].map(place => style(place).color);
        return [new Set(lines).size, lines.some(line => words.some(color => line.startsWith(color)))]"""
    assert browser.run(script) == [9, False]


def test_compare_runs_of_fewer_than_two_runs_raises(two_runs):
    for paths in ([two_runs[0].path], [two_runs[0].path] * 2):
        with pytest.raises(UserError, match="two or more different runs"):
            compare_runs(paths)


def test_a_browser_shows_the_page_on_a_phone(two_runs, browser, tmp_path):
    write_comparison(compare_runs([run.path for run in two_runs]), tmp_path / "compare.html")
    browser.open(tmp_path / "compare.html", width=360)
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    assert browser.run("return document.querySelectorAll('svg').length") == 4
    assert browser.run("return document.querySelectorAll('svg g').length") == 8  # a line a run
    assert browser.console() == []
