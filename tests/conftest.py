"""Fixtures that several test files share: a small data set and one finished run on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import paddle_alexnet
from paddle_alexnet.data.demo import draw_demo
from paddle_alexnet.train import Results

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set with 5 images a class: 30 train, 10 val, 10 test."""
    root = tmp_path_factory.mktemp("data") / "demo"
    draw_demo(root, images_per_class=5)
    return root


@pytest.fixture(scope="session")
def finished_run(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two epochs of the smallest preset on the demo set."""
    output = tmp_path_factory.mktemp("runs") / "finished"
    return paddle_alexnet.train(small_config(demo_set, output, "train.epochs=2"))


def small_config(root: Path, output: Path, *overrides: str) -> paddle_alexnet.Config:
    """A config that trains in seconds."""
    fixed = [
        f"data.root={root}",
        f"output={output}",
        "model.preset=half",
        "train.batch_size=8",
        "data.verify=false",
    ]
    return paddle_alexnet.load_config(None, [*fixed, *overrides])


def run_tool(name: str, *arguments: object, cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
    """Run a tool as a user would, in a process of its own."""
    command = [sys.executable, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("OMP_NUM_THREADS", None)  # which the package has set in this process
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def assert_user_error(result: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Exit code 2, one error line that names what it must, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "error: " in line
    for part in parts:
        assert part in line
