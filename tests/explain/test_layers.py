"""What layers put out, and which of them are looked at in each network."""

import numpy as np
import paddle
import pytest
from rounding import LOGITS

from paddle_alexnet.explain.layers import last_hidden_layer, normalizations, rectified_convolutions, watch
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import PRESETS, walk

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


def test_recording_of_layers_keeps_their_outputs_and_removes_its_hooks():
    network = AlexNet("tiny", 3)
    network.eval()
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 99, 99)).astype(np.float32))
    with paddle.no_grad():
        with watch(network, ["conv1", "relu7", "fc8"]) as seen:
            logits = network(image)
        first = network.features[0](image)
        assert list(seen) == ["conv1", "relu7", "fc8"]
        np.testing.assert_array_equal(seen["conv1"].numpy(), first.numpy())
        np.testing.assert_array_equal(seen["fc8"].numpy(), logits.numpy())
        np.testing.assert_allclose(network.classifier[-1](seen["relu7"]).numpy(), logits.numpy(), atol=LOGITS)
        seen.clear()
        network(image)
    assert seen == {}


class Stages:
    """What of a network is known before it is built."""

    def __init__(self, preset, quirks=()):
        self.stages, self.quirks = walk(PRESETS[preset]), quirks


@pytest.mark.parametrize("preset", PRESETS)
def test_every_network_has_the_layers_that_are_looked_at(preset):
    network = Stages(preset)
    names = {stage.name for stage in network.stages}
    assert rectified_convolutions(network) == [f"relu{n}" for n in range(1, 6)]
    assert last_hidden_layer(network) == "relu7"
    assert names.issuperset([*rectified_convolutions(network), "relu7"])


def test_last_hidden_layer_with_a_dead_fc7_is_relu6():
    assert last_hidden_layer(Stages("fluid", ["dead_fc2"])) == "relu6"


def test_each_normalization_follows_what_it_normalizes():
    assert normalizations(Stages("paddle2")) == [("relu1", "lrn1"), ("relu2", "lrn2")]
    assert normalizations(Stages("caffenet")) == [("pool1", "lrn1"), ("pool2", "lrn2")]
    assert normalizations(Stages("source145")) == [
        ("conv1", "lrn1"),
        ("relu2", "lrn2"),
        ("lrn2", "spatial_norm2"),
    ]
    assert normalizations(Stages("owt")) == []
