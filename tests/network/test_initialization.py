"""The first weights, measured on networks.

A deviation of n normal numbers is off by 1 / sqrt(2 n): 0.4 % for conv1 with 34,848 weights, 0.2 % or less for others.
Tolerances are five of that. The largest of a layer's uniform weights is within 1e-3 of the bound.
"""

import numpy as np
import paddle
import pytest

from paddle_alexnet import AlexNet


def learned(preset):
    paddle.seed(0)
    network = AlexNet(preset, num_classes=10)
    return {stage.name: layer for stage, layer in network.named_layers() if hasattr(layer, "weight")}


def std(layer):
    return float(layer.weight.numpy().std())


def test_normal_follows_the_table(narrow_presets):
    layers = learned("source145")
    assert std(layers["conv2"]) == pytest.approx(0.01, rel=0.01)
    assert std(layers["conv4"]) == pytest.approx(0.03, rel=0.01)
    assert std(layers["fc6"]) == pytest.approx(0.01, rel=0.01)
    assert float(layers["conv4"].bias.min()) == float(layers["conv4"].bias.max()) == 1.0
    assert float(layers["conv1"].bias.abs().max()) == 0.0


def test_paddle_counts_all_channels_of_a_convolution_with_groups():
    layers = learned("paddle2")
    assert std(layers["conv1"]) == pytest.approx((2 / (3 * 11**2)) ** 0.5, rel=0.02)
    assert std(layers["conv2"]) == pytest.approx((2 / (96 * 5**2)) ** 0.5, rel=0.02)  # a filter sees 48 of the 96
    bound = (6 / (9216 + 4096)) ** 0.5
    assert np.abs(layers["fc6"].weight.numpy()).max() == pytest.approx(bound, rel=1e-3)
    assert all(float(layer.bias.abs().max()) == 0 for layer in layers.values())


def test_torch_is_uniform_within_the_root_of_fan_in():
    layers = learned("half")
    for name, fan_in in {"conv1": 3 * 11**2, "conv3": 128 * 3**2, "fc7": 2048}.items():
        layer = layers[name]
        assert np.abs(layer.weight.numpy()).max() == pytest.approx(fan_in**-0.5, rel=1e-3)
        assert std(layer) == pytest.approx((3 * fan_in) ** -0.5, rel=0.02)
        assert 0.9 < float(layer.bias.abs().max()) * fan_in**0.5 <= 1


def test_truncated_normal_is_cut_at_two_std(narrow_presets):
    layer = learned("tensorflow")["conv2"]
    assert 0.199 < np.abs(layer.weight.numpy()).max() <= 0.2
    assert std(layer) == pytest.approx(0.0880, rel=0.01)  # of a normal of std 0.1 cut at ±0.2
    assert float(layer.bias.abs().max()) == 0


def test_xavier_where_the_table_gives_no_std(narrow_presets):
    layers = learned("slim")  # TF-slim: xavier_initializer and biases 0.1; trunc_normal(0.005) from fc6 on
    bound = (6 / (64 * 5**2 + 192 * 5**2)) ** 0.5
    assert np.abs(layers["conv2"].weight.numpy()).max() == pytest.approx(bound, rel=1e-3)
    assert std(layers["conv2"]) == pytest.approx(bound / 3**0.5, rel=0.01)
    assert 0.0099 < np.abs(layers["fc6"].weight.numpy()).max() <= 0.01
    assert {name: float(layer.bias.max()) for name, layer in layers.items()} == pytest.approx(
        {**dict.fromkeys(["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"], 0.1), "fc8": 0}
    )


def test_owt2014_starts_as_its_log_shows_it(narrow_presets):
    # TrainingExample.md of cuda-convnet2, early in training: mean absolute weights and biases by layer.
    weights = [7.90e-3, 7.99e-3, 2.364e-2, 2.369e-2, 2.369e-2, 7.15e-3, 7.80e-3, 7.96e-3]
    biases = [2.7e-4, 1.000, 7e-4, 0.999, 0.999, 1.000, 0.999, 7.000]
    for layer, weight, bias in zip(learned("owt2014").values(), weights, biases):
        assert float(layer.weight.abs().mean()) == pytest.approx(weight, rel=0.12)  # fc6 had learned the most
        assert float(layer.bias.abs().mean()) == pytest.approx(bias, abs=2e-3)
