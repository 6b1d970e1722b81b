"""Which network a file's weights are of, told by their shapes and names."""

from dataclasses import replace

import numpy as np
import pytest

from paddle_alexnet import PRESETS, UserError
from paddle_alexnet.weights.layout import Weights, check_finite, choose_preset, fitting_presets, layers


def shapes_of(preset, num_classes=10):
    """A file of a preset's shapes that takes no memory."""
    zero, weights = np.float32(0), []
    for layer in layers(preset):
        shape = [num_classes if size is None else size for size in layer.shape]
        out = shape[0] if len(shape) == 4 else shape[1]
        weight, bias = np.broadcast_to(zero, shape), np.broadcast_to(zero, [out])
        weights.append(Weights(f"{layer.name}.weight", weight, bias))
    return weights


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_classes", [7, 4096])  # as many classes as neurons makes fc2 and fc3 alike
def test_a_file_tells_its_preset(preset, num_classes):
    alike = {name for name in PRESETS if [x.shape for x in layers(name)] == [x.shape for x in layers(preset)]}
    assert preset != "caffe" or alike >= {"paper", "source145", "caffe", "caffenet"}
    weights = shapes_of(preset, num_classes)
    assert set(fitting_presets(weights)) == alike
    assert choose_preset(weights[::-1], preset, source="file") == preset
    if len(alike) > 1:
        with pytest.raises(UserError, match=r"equally; choose one as preset") as raised:
            choose_preset(weights, source="file")
        assert all(name in str(raised.value) for name in alike)
    else:
        assert choose_preset(weights, source="file") == preset


def test_a_network_that_is_none_of_the_presets():
    weights = shapes_of("owt")
    extra = Weights("conv6.weight", np.zeros((256, 256, 3, 3)), np.zeros(256))
    with pytest.raises(UserError, match=r"conv6.weight is 256×256×3×3, must be absent.*no preset matches"):
        choose_preset([*weights[:5], extra, *weights[5:]], source="file")
    odd = Weights("conv2.weight", weights[1].weight, np.zeros(5))
    faults = rf"preset owt: conv2 \(conv2.weight\) has a bias of 5, must be 192; {layers('owt')[-1].name} is missing"
    with pytest.raises(UserError, match=faults):
        choose_preset([weights[0], odd, *weights[2:7]], source="file")


def named_as(preset, *, torch):
    names = [layer.torch_key if torch else layer.key for layer in layers(preset)]
    return [Weights(f"{name}.weight", w.weight, w.bias) for name, w in zip(names, shapes_of(preset))]


@pytest.mark.parametrize("torch", [True, False])
def test_matching_preset_of_several_is_chosen_by_names(torch, monkeypatch):
    """torchvision's names are those of `owt`, though a network with other blocks may have the same shapes."""
    twin = replace(
        PRESETS["owt"], blocks={"a": PRESETS["owt"].blocks["features"], "b": PRESETS["owt"].blocks["classifier"]}
    )
    monkeypatch.setitem(PRESETS, "twin", twin)
    assert {"owt", "twin"} <= set(fitting_presets(shapes_of("owt")))
    assert choose_preset(named_as("owt", torch=torch), source="file") == "owt"
    assert choose_preset(named_as("twin", torch=torch), source="file") == "twin"
    assert choose_preset(shapes_of("owt"), source="file", usual="owt") == "owt"
    with pytest.raises(UserError, match=r"owt, .*twin equally; choose one as preset"):
        choose_preset(shapes_of("owt"), source="file")


def test_nan_and_infinity_are_refused_by_layer():
    state = {f"{layer.key}.{part}": np.zeros(3, np.float32) for layer in layers("half") for part in ("weight", "bias")}
    check_finite(state, "half", source="file")
    state["features.3.weight"] = np.array([0, np.nan, np.inf], np.float32)
    state["features.0.bias"] = np.array([0, 0, -np.inf], np.float32)
    with pytest.raises(UserError, match=r"file: .*: conv1 has 1 of 3 in its bias, conv2 has 2 of 3 in its weight; "):
        check_finite(state, "half", source="file")
