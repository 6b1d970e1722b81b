"""A preset of 26,000 weights, laid out as `half` is, for tests that need no network in full."""

from collections.abc import Iterator

import pytest

from paddle_alexnet.network.presets import PRESETS, Conv, Dropout, Flatten, Linear, MaxPool, Preset, ReLU

TINY = Preset(
    source="tests",
    image_size=99,  # 23, 11, 5 and 2 after conv1 and the pools
    init="torch",
    blocks={
        "features": (
            *(Conv(8, 11, stride=4), ReLU(), MaxPool()),
            *(Conv(12, 5, padding=2), ReLU(), MaxPool()),
            *(Conv(16, 3, padding=1), ReLU()),
            *(Conv(20, 3, padding=1), ReLU()),
            *(Conv(24, 3, padding=1), ReLU(), MaxPool()),
        ),
        "classifier": (
            *(Flatten(), Dropout(), Linear(96, 64), ReLU()),
            *(Dropout(), Linear(64, 48), ReLU()),
            Linear(48, None),
        ),
    },
    quirks=frozenset({"dead_fc2"}),
)


@pytest.fixture(scope="module", autouse=True)
def tiny_preset() -> Iterator[None]:
    """Import it into a test file, and there is a preset `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        yield
