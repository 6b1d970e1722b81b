"""The ONNX file: ONNX Runtime computes what the network does, for every preset, and the file says what it is."""

import json
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from helpers import metadata_of
from rounding import LOGITS, PROBABILITIES

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.exporting.onnx import onnx_file
from paddle_alexnet.inference.onnx_runtime import MODEL, OnnxRuntime
from paddle_alexnet.network.presets import PRESETS

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
onnx = pytest.importorskip("onnx", reason="needs the extra [onnx]")


def spread(network):
    """Weights and biases that make something of every layer, where the preset's own are near 0."""
    paddle.seed(0)
    for parameter in network.parameters():
        scale = np.sqrt(2 / max(1, np.prod(parameter.shape[1:]))) if len(parameter.shape) == 4 else 0.1
        parameter.set_value(scale * paddle.randn(parameter.shape))
    network.eval()
    return network


def logits(network, image):
    with paddle.no_grad():
        return network(paddle.to_tensor(image)).numpy()


def run(content, image, name=None):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(name and [name], {"image": image})[0]


def images(size, count=1, scale=1.0):
    return scale * np.random.default_rng(0).standard_normal((count, 3, size, size), np.float32)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_computes_as_the_network_does(preset, narrow_presets):
    network = spread(AlexNet(preset, 5, "auto"))
    image = images(network.image_size, scale=30)  # so that the normalization does something
    expected = logits(network, image)
    found = run(onnx_file(network, metadata_of(network)), image)
    assert np.abs(found - expected).max() <= LOGITS * np.abs(expected).max()


@pytest.mark.parametrize("preset, quirk", [("paddle2", "lrn_exclusive"), ("fluid", "dead_fc2")])
def test_a_quirk_is_exported_with_the_network(preset, quirk, narrow_presets):
    network = spread(AlexNet(preset, 5, quirks=[quirk]))
    plain = AlexNet(preset, 5)
    plain.set_state_dict(network.state_dict())
    plain.eval()
    image = images(network.image_size, scale=300)
    expected = logits(network, image)
    found = run(onnx_file(network, metadata_of(network)), image)
    assert np.abs(found - expected).max() <= LOGITS * np.abs(expected).max()
    assert np.abs(found - logits(plain, image)).max() > 1e-3 * np.abs(expected).max()


def test_activations_of_thousands_are_normalized_exactly():
    """ONNX Runtime's own LRN, a running sum, is wrong by 1e-2 there."""
    network = spread(AlexNet("small", 5, "band"))
    image = images(network.image_size, scale=3e4)
    expected = logits(network, image)
    found = run(onnx_file(network, metadata_of(network)), image)
    assert np.abs(found - expected).max() <= LOGITS * np.abs(expected).max()


def test_batch_and_output_are_as_asked():
    network = spread(AlexNet("small", 5))
    image, metadata = images(network.image_size, 3), metadata_of(network)
    expected = logits(network, image)
    content = onnx_file(network, metadata)
    most = np.abs(expected).max()
    np.testing.assert_allclose(run(content, image, "logits"), expected, atol=LOGITS * most)
    np.testing.assert_allclose(run(content, image[:1]), expected[:1], atol=LOGITS * most)

    content = onnx_file(network, replace(metadata, output="probabilities", batch_size=3))
    exponentials = np.exp(expected)
    probabilities = run(content, image, "probabilities")
    np.testing.assert_allclose(
        probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), atol=PROBABILITIES * most
    )
    with pytest.raises(Exception, match="Got: 2 Expected: 3"):
        run(content, image[:2])


def test_weights_that_are_not_finite_are_named(tmp_path):
    network = AlexNet("small", 3)
    network.block2[0].bias.set_value(np.full(80, np.nan, np.float32))
    with pytest.raises(UserError, match=r"model\.onnx: parameter conv2\.bias holds NaN or infinity"):
        OnnxRuntime({MODEL: onnx_file(network, metadata_of(network))}, source=tmp_path)


def test_the_file_says_what_a_user_needs_to_know():
    network = AlexNet("small", 3)
    metadata = metadata_of(network)
    session = onnxruntime.InferenceSession(onnx_file(network, metadata), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["labels"]) == ["class 0", "class 1", "class 2"]
    preprocess = json.loads(said["preprocess"])
    assert preprocess["image_size"] == 131
    assert preprocess["mean"] == [0.5, 0.4, 0.3]
    assert (said["preset"], said["output"], said["epoch"]) == ("small", "logits", "3")
    assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == ["image", "logits"]
    model = onnx.load_model_from_string(onnx_file(network, metadata))
    assert {node.name for node in model.graph.node} >= {"conv1", "lrn1", "pool5", "fc6", "fc8"}


def test_onnx_without_its_packages_names_the_extra(monkeypatch):
    network = AlexNet("small", 3)
    content = onnx_file(network, metadata_of(network))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for job in (lambda: onnx_file(network, metadata_of(network)), lambda: OnnxRuntime({MODEL: content}, source=".")):
        with pytest.raises(UserError, match=r'pip install "paddle-alexnet\[onnx\]"'):
            job()
