"""What the tests of data loading share: the demo set, to read or to break, and the statistics of its patches."""

import shutil
from pathlib import Path

import pytest

from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.statistics import Statistics, measure
from paddle_alexnet.data.table import read_table

CROP = Preprocess(48, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), geometry="crop", resize=64)


@pytest.fixture
def root(demo_set: Path, tmp_path: Path) -> Path:
    """A copy of the demo set to break."""
    return shutil.copytree(demo_set, tmp_path / "data")


@pytest.fixture(scope="session")
def train_set(demo_set: Path) -> PatchDataset:
    """Patches of 64×64 for an input of 48×48."""
    return PatchDataset(read_table(demo_set), "train", CROP)


@pytest.fixture(scope="session")
def statistics(train_set: PatchDataset) -> Statistics:
    return measure(train_set.patches(range(len(train_set)))[0])
