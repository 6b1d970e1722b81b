"""Fixtures that several test files share: a small data set and one finished run on it."""

from pathlib import Path

import pytest
from helpers import small_config

import paddle_alexnet
from paddle_alexnet.data.prepare.demo import draw_demo
from paddle_alexnet.trainer import Results


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
