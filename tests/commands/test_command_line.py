import sys

import pytest

from paddle_alexnet.commands.options import command_line, module_line


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a virtual environment that is not on the PATH."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "paddle-alexnet"):
        (tmp_path / ".venv" / "bin" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    return tmp_path


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("tools/train.py", ".venv/bin/python -m paddle_alexnet prepare-data 'my run'"),
        (".venv/bin/paddle-alexnet", ".venv/bin/paddle-alexnet prepare-data 'my run'"),
        ("/site-packages/paddle_alexnet/__main__.py", ".venv/bin/python -m paddle_alexnet prepare-data 'my run'"),
        ("", ".venv/bin/python -m paddle_alexnet prepare-data 'my run'"),
    ],
)
def test_a_command_is_started_as_this_process_was(here, monkeypatch, started, expected):
    monkeypatch.setattr(sys, "argv", [started])
    assert command_line("prepare-data", "my run") == expected


def test_command_line_of_a_program_on_the_path_has_no_folder(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here / ".venv" / "bin"))
    monkeypatch.setattr(sys, "argv", [str(here / ".venv" / "bin" / "paddle-alexnet")])
    assert command_line("predict", "runs/a", "IMAGE") == "paddle-alexnet predict runs/a IMAGE"
    assert module_line("visualdl.server.app", "--logdir", "a b") == "python -m visualdl.server.app --logdir 'a b'"


def test_elsewhere_a_path_is_whole(here, monkeypatch):
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert command_line("predict") == f"{here}/.venv/bin/python -m paddle_alexnet predict"
