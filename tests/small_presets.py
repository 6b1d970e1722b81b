"""Every preset with its convolutions and pools as they are, and linear layers of a few weights."""

from dataclasses import replace

import pytest

from paddle_alexnet.network.presets import PRESETS, Linear, Preset


def lighten(preset: Preset) -> Preset:
    """The preset with linear layers of 16 outputs: 4 million weights of 62."""
    blocks, inputs = {}, None
    for name, stages in preset.blocks.items():
        lighter = []
        for stage in stages:
            if isinstance(stage, Linear):
                stage = replace(stage, in_features=inputs or stage.in_features)
                if stage.out_features is not None:
                    stage, inputs = replace(stage, out_features=16), 16
            lighter.append(stage)
        blocks[name] = tuple(lighter)
    return replace(preset, blocks=blocks)


@pytest.fixture(params=sorted(PRESETS))
def light_preset(request, monkeypatch) -> str:
    """The name of a preset, each in its turn, that is light while the test runs."""
    monkeypatch.setitem(PRESETS, request.param, lighten(PRESETS[request.param]))
    return request.param
