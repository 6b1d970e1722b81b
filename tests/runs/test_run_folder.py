"""The run folder: how a run begins in it, and that no other begins while it lives."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import file_contents

from paddle_alexnet import UserError
from paddle_alexnet.runs.run_folder import RunFolder

BEGIN = """
import sys, time
from pathlib import Path
from paddle_alexnet.runs.run_folder import RunFolder
assert "paddle" not in sys.modules
with RunFolder(Path(sys.argv[1])).begin():
    print("begun", flush=True)
    time.sleep(60)
"""


def begin(path):
    with RunFolder(path).begin():
        RunFolder(path).config.write_text(f"# the data is {path}\n")


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


def test_begin_in_a_foreign_or_unwritable_folder_raises(tmp_path):
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


def foreign(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("model: other\n")
    return folder


@pytest.mark.parametrize(
    "paths",
    [
        ("config.yaml", ".data.partial"),
        ("checkpoints/step-1.ckpt",),
        ("checkpoints/best/metadata.json", "checkpoints/best/model.bin"),
        ("environment.json",),
        (".lock",),
    ],
)
def test_another_program_s_run_is_left_alone(tmp_path, paths):
    foreign(tmp_path / "run", *paths)
    before = file_contents(tmp_path)
    for attempt in (begin, lambda path: RunFolder(path).check()):
        with pytest.raises(UserError, match="not a run's"):
            attempt(tmp_path / "run")
    assert file_contents(tmp_path) == before


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.yaml", "# the data is data/labels.csv\nmodel: {}\n"),
        ("environment.json", '{"device": "cpu", "processor": "x", "threads": "2", "command": "train"}'),
        ("checkpoints/best/metadata.json", '{"preset": "half", "classes": {}}'),  # of the first version
        ("checkpoints/epoch-0001-step-0000000/metadata.json", '{\n  "model": {\n    "preset": "half"'),
    ],
)
def test_a_run_of_any_version_is_moved_aside_with_what_others_put_there(tmp_path, name, content):
    foreign(
        tmp_path / "run", name, "notes.txt", ".data.partial", "visualdl/.a.0123abcd.partial", "checkpoints/mine.ckpt"
    )
    (tmp_path / "run" / name).write_text(content)
    before = file_contents(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / ".epoch-0002-step-0000007.0123abcd.partial").mkdir()
    (tmp_path / "run" / ".metrics.csv.0123abcd.partial").touch()
    begin(tmp_path / "run")
    assert file_contents(tmp_path / "run.1") == before
    assert not (tmp_path / "run.1" / "checkpoints" / ".epoch-0002-step-0000007.0123abcd.partial").exists()


def test_begin_to_resume_removes_what_a_killed_run_left(tmp_path):
    begin(tmp_path / "run")
    foreign(tmp_path / "run", "checkpoints/.epoch-0002-step-0000007.0123abcd.partial/weights.pdparams", ".mine.partial")
    with RunFolder(tmp_path / "run").begin(resume=True):
        assert sorted(file_contents(tmp_path / "run")) == [".lock", ".mine.partial", "config.yaml"]


def test_only_states_count_as_states(tmp_path):
    run = RunFolder(tmp_path)
    foreign(run.checkpoints, *(f"epoch-{n:04}-step-0000000/metadata.json" for n in (2, 10)))
    foreign(run.checkpoints, "epoch-0001-copy/metadata.json", "epoch-0001-step-0000000/notes.txt", "epoch-mine.txt")
    assert [path.name for path in run.earlier()] == ["epoch-0002-step-0000000", "epoch-0010-step-0000000"]
