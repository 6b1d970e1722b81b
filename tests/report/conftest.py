"""A run's folder that was written by hand, its pictures, and a checkpoint."""

from pathlib import Path

import paddle
import pytest
from handmade_run import write_run
from helpers import metadata_of

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.run_folder import RunFolder


@pytest.fixture
def run_folder(tmp_path: Path, pictures: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "a run")
    write_run(folder, pictures)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network of three classes, of epoch 3."""
    place = tmp_path_factory.mktemp("model") / "best"
    paddle.seed(0)
    network = AlexNet("small", 3)
    save_checkpoint(place, network, metadata_of(network))
    return place
