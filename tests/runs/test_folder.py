"""The run folder: how a run begins in it, and that no other begins while it lives."""

import os
import signal
import subprocess
import sys

import pytest

from paddle_alexnet import UserError
from paddle_alexnet.runs.folder import RunFolder

BEGIN = """
import sys, time
from pathlib import Path
from paddle_alexnet.runs.folder import RunFolder
assert "paddle" not in sys.modules
with RunFolder(Path(sys.argv[1])).begin():
    print("begun", flush=True)
    time.sleep(60)
"""


def begin(path):
    with RunFolder(path).begin():
        RunFolder(path).config.write_text(str(path))


def test_an_earlier_run_is_moved_aside_and_nothing_is_left_locked(tmp_path):
    (tmp_path / "run" / "checkpoints" / ".best.0123abcd.partial").mkdir(parents=True)  # as a killed run leaves it
    (tmp_path / "run" / ".curves.png.0123abcd.partial").touch()
    for _ in range(3):
        begin(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.1", "run.2", "run.3"]
    assert not list(tmp_path.rglob(".*"))
    assert (tmp_path / "run.3" / "config.yaml").is_file()


def test_a_run_that_another_process_writes_is_left_alone_until_that_is_dead(tmp_path):
    output = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", BEGIN, str(output)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "begun\n"
        with pytest.raises(UserError, match="another run is writing it"):
            begin(output)
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        first.send_signal(signal.SIGKILL)
    begin(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.1"]


def test_what_is_no_run_and_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run's"):
        begin(tmp_path)
    with pytest.raises(UserError, match="cannot write there"):
        begin(tmp_path / "thesis.txt" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_present_folder_twice(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    for _ in range(2):
        monkeypatch.chdir(tmp_path / "here")
        with RunFolder(".").begin():
            pass
    assert sorted(os.listdir(tmp_path)) == ["here", "here.1"]


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/run").best == tmp_path / "run" / "checkpoints" / "best"
