"""Progress of long work: in a terminal, elsewhere, and hushed."""

import io
import logging
import sys
import time

import pytest

from paddle_alexnet.system import progress as module
from paddle_alexnet.system.progress import progress, working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def quick(monkeypatch):
    """Lines after 20 and every 60 milliseconds."""
    monkeypatch.setattr(module, "EVERY", 0.06)
    return 0.02


def test_a_long_step_is_a_line_that_is_told_again(quick, capsys):
    with working("writing", after=quick):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert set(lines) == {"writing … 0 s"}


def test_a_short_step_says_nothing(capsys):
    with working("writing"):
        pass
    assert capsys.readouterr().err == ""


def test_in_a_terminal_a_step_is_shown_while_it_lasts_and_nothing_is_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with working("writing"):
        assert terminal.getvalue() == "writing …"
    assert not terminal.getvalue().rstrip("\r").split("\r")[-1].strip()


def test_items_are_told_at_quarters_and_when_one_takes_long(monkeypatch, capsys):
    assert list(progress(range(8), what="reading", total=8)) == list(range(8))
    assert capsys.readouterr().err.splitlines() == [f"reading: {done}/8" for done in (2, 4, 6, 8)]
    monkeypatch.setattr(module, "EVERY", 0.0)
    assert list(progress(iter(range(3)), what="reading", total=None)) == [0, 1, 2]
    assert capsys.readouterr().err.splitlines() == ["reading: 1", "reading: 2", "reading: 3"]


def test_a_hushed_log_hushes_progress(quick, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("paddle_alexnet"), "level", logging.WARNING)
    assert list(progress(range(8), what="reading", total=8)) == list(range(8))
    with working("writing", after=quick):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
