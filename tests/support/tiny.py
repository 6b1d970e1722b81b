"""Networks for tests that need no full one: a preset of 26,000 weights, and the presets with few linear weights."""

from dataclasses import replace
from itertools import chain

from paddle_alexnet.network.presets import Conv, Dropout, Flatten, Linear, MaxPool, Preset, ReLU, Stage

WIDTH = 32  # outputs of a narrow network's first two linear layers

# Laid out as `half` is.
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


def narrow(preset: Preset) -> Preset:
    """A preset with linear layers of WIDTH outputs: they hold nine of ten weights, and drawing those takes the time."""
    first, *_ = (stage for stage in chain(*preset.blocks.values()) if isinstance(stage, Linear))

    def narrowed(stage: Stage) -> Stage:
        if not isinstance(stage, Linear):
            return stage
        return replace(
            stage,
            in_features=stage.in_features if stage is first else WIDTH,
            out_features=None if stage.out_features is None else WIDTH,
        )

    return replace(preset, blocks={name: tuple(map(narrowed, stages)) for name, stages in preset.blocks.items()})
