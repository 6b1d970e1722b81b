"""Fixtures of the benchmark's tests."""

import pytest

from paddle_alexnet import PRESETS
from paddle_alexnet.benchmark import network_passes as module
from paddle_alexnet.network.presets import LRN, Conv, Dropout, Flatten, Linear, MaxPool, Preset, ReLU


@pytest.fixture
def tiny(monkeypatch):
    """A preset that takes no time, with all kinds of layers; the peak is measured in no time either."""
    blocks = {
        "block1": (Conv(8, 3, stride=2, padding="SAME"), ReLU(), LRN(), MaxPool()),
        "out_fc": (Flatten(), Dropout(), Linear(8 * 7 * 7, None)),
    }
    monkeypatch.setitem(PRESETS, "tiny", Preset(source="test", image_size=32, blocks=blocks, num_classes=3))
    monkeypatch.setattr(module, "PEAK_SIDE", 32)
