"""Runs compared: their figures, what differs, and the page."""

import pytest
from handmade_run import METRICS, write_run

from paddle_alexnet import UserError
from paddle_alexnet.report.comparison import compare_runs
from paddle_alexnet.report.page import write_comparison
from paddle_alexnet.runs.folder import RunFolder


@pytest.fixture
def two_runs(tmp_path, pictures):
    a, b = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    write_run(a, pictures)
    write_run(b, pictures, "optimizer.learning_rate=0.003", f"output={b.path}", "train.epochs=3")
    b.metrics.write_text(METRICS.replace("1.25", "1.125"))
    return a, b


def test_what_differs_is_named_and_the_better_run_is_the_best(two_runs):
    comparison = compare_runs([run.path for run in two_runs])
    assert comparison.names == ("a", "b")
    assert comparison.differing == {"optimizer.learning_rate": ("0.0001", "0.003"), "train.epochs": ("10", "3")}
    assert comparison.figures["val loss"] == ("1.2500", "1.1250")
    assert comparison.figures["epochs"] == ("3 of 10", "3 of 3")
    assert comparison.best == 1


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
    assert comparison.best == 1


def test_one_run_or_the_same_twice_is_refused(two_runs):
    for paths in ([two_runs[0].path], [two_runs[0].path] * 2):
        with pytest.raises(UserError, match="two runs or more"):
            compare_runs(paths)


def test_a_browser_shows_the_page_on_a_phone(two_runs, browser, tmp_path):
    write_comparison(compare_runs([run.path for run in two_runs]), tmp_path / "compare.html")
    browser.open(tmp_path / "compare.html", width=360)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run("return document.querySelectorAll('svg').length") == 4
    assert browser.run("return document.querySelectorAll('svg g').length") == 8  # a line a run
    assert browser.console() == []
