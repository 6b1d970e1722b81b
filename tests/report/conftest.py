"""A run's folder that was written by hand, its pictures, and a checkpoint."""

from pathlib import Path

import paddle
import pytest
from handmade_run import write_run
from helpers import metadata_of
from PIL import Image

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.run_folder import RunFolder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, each of a color of its own: 0.png to 11.png."""
    root = tmp_path_factory.mktemp("pictures")
    for n in range(12):
        Image.new("RGB", (40, 30), (20 * n, 255 - 20 * n, 90)).save(root / f"{n}.png")
    return root


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
