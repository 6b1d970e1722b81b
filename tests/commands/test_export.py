"""`paddle-alexnet export`: what it writes is what was asked for, and predicts as the network does."""

import json

import numpy as np
import pytest
from helpers import assert_user_error, run_tool, save_untrained
from rounding import PROBABILITIES

from paddle_alexnet import Predictor
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.exporting import verification as proof


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(proof, "PICTURES", 3)
    monkeypatch.setattr(proof, "LATENCIES", (1,))


@pytest.mark.parametrize("to", ["paddle", "onnx"])
@pytest.mark.parametrize(
    "options", [(), ("--image-size", 140, "--batch", 3, "--softmax")], ids=["as it is", "otherwise"]
)
def test_exported_model_predicts_as_the_network_does(to, options, checkpoint, demo_set, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    result = run_tool("export", checkpoint, "--to", to, "--output", tmp_path / "model", *options)
    assert result.returncode == 0, result.stderr
    assert "compared with the network on 3 drawn images" in result.stdout
    asked = dict(zip(options[::2], options[1::2]))
    ours = Predictor(checkpoint)
    theirs = Predictor(tmp_path / "model")
    size = asked.get("--image-size", 131)
    assert theirs.metadata.preprocess.image_size == size
    assert theirs.metadata.batch_size == asked.get("--batch")
    assert theirs.metadata.output == ("probabilities" if "--softmax" in options else "logits")
    ours.metadata = theirs.metadata  # images of that size for both
    images = find_images([demo_set])[:5]
    for expected, found in zip(ours.predict(images), theirs.predict(images)):
        assert found.image == expected.image
        np.testing.assert_allclose(found.distribution, expected.distribution, atol=PROBABILITIES)


def test_all_are_put_in_place_or_none(checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    with monkeypatch.context() as patched:
        patched.setattr(
            "paddle_alexnet.inference.onnx_runtime.OnnxRuntime.__call__", lambda self, image: image[:, 0, 0]
        )
        result = run_tool("export", checkpoint, "--to", "all", "--output", tmp_path / "out")
    assert result.returncode == 3
    assert "the exported model does not run in ONNX Runtime" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())

    result = run_tool("export", checkpoint, "--to", "all", "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"inference", "onnx"}
    about = json.loads((tmp_path / "out" / "onnx" / "metadata.json").read_text())
    network, runtime = about["proof"]["checks"]
    assert (network["engine"], runtime["engine"]) == ("the network itself", "ONNX Runtime")
    assert f"{runtime['difference']:.1e}" in result.stdout


def test_beyond_tolerance_the_exit_code_is_3_and_the_older_export_stays(checkpoint, tmp_path, monkeypatch):
    assert run_tool("export", checkpoint, "--output", tmp_path / "model").returncode == 0
    before = (tmp_path / "model" / "metadata.json").read_bytes()
    monkeypatch.setattr(proof, "TOLERANCE", 1e-12)
    result = run_tool("export", checkpoint, "--output", tmp_path / "model")
    assert result.returncode == 3
    assert "differs from the network by" in result.stderr
    assert "Paddle Inference, oneDNN" in result.stdout
    assert (tmp_path / "model" / "metadata.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_size_that_the_linear_layers_do_not_take_is_one_line(checkpoint):
    result = run_tool("export", checkpoint, "--image-size", 200)
    assert_user_error(result, "image size 200", "3×3", "131 to 162")
    assert_user_error(run_tool("export", checkpoint, "--batch", "0"), "--batch")


def test_onnx_without_its_packages_is_one_line_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    result = run_tool("export", checkpoint, "--to", "all", "--output", tmp_path / "out")
    assert_user_error(result, 'pip install "paddle-alexnet[onnx]"')
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("opset", [9, 17])
def test_the_opset_is_the_one_that_is_asked_for(tmp_path, opset):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = save_untrained(tmp_path / "m")
    done = run_tool("export", model, "--to", "onnx", "--output", tmp_path / "out", "--opset", opset)
    assert done.returncode == 0, done.stderr
    assert onnx.load(tmp_path / "out" / "model.onnx").opset_import[0].version == opset
    assert_user_error(run_tool("export", model, "--opset", opset), "add --to onnx")
    assert_user_error(run_tool("export", model, "--to", "onnx", "--opset", 8), "supports others; choose 9 to")
