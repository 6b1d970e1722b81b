"""What can be taken away from any preset, by names that are given as its quirks are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Callable

from paddle_alexnet.network.presets import LRN, Conv, Dropout, MaxPool, Preset, Stage


def _no_overlap(stage: Stage) -> Stage:
    """Pools of 2×2, where those of the family are 3×3 with a stride of 2."""
    return replace(stage, kernel_size=stage.stride) if isinstance(stage, MaxPool) else stage


def _no_dropout(stage: Stage) -> Stage:
    return replace(stage, p=0.0) if isinstance(stage, Dropout) else stage


def _one_column(stage: Stage) -> Stage:
    return replace(stage, groups=1) if isinstance(stage, (Conv, LRN)) else stage


ABLATIONS: dict[str, Callable[[Stage], Stage]] = {
    "no_overlap": _no_overlap,
    "no_dropout": _no_dropout,
    "one_column": _one_column,
}


def ablated(preset: Preset, quirks: Sequence[str]) -> Preset:
    """The preset without what the ablations among some quirks take away."""
    for quirk in quirks:
        if change := ABLATIONS.get(quirk):
            preset = replace(preset, blocks={name: tuple(map(change, part)) for name, part in preset.blocks.items()})
    return preset
