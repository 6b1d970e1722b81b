"""Other precisions: near float32, at a cost that evaluate states, and refused where they are not to be had."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from helpers import REPOSITORY, assert_user_error, metadata_of, run_tool
from rounding import NOISE

from paddle_alexnet import AlexNet, Predictor, UserError
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.exporting.exporter import export_network

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`

PADDLE_2 = paddle.__version__ < "3"
AVAILABLE = ["int8"] * PADDLE_2


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    return shutil.copytree(finished_run.output / "inference", tmp_path_factory.mktemp("elsewhere") / "model")


def logits(model, images, precision):
    """The logarithms of predicted probabilities, about 0: the logits, but for what all classes of an image share."""
    logarithms = np.log([found.distribution for found in Predictor(model, precision=precision).predict(images)])
    return logarithms - logarithms.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("precision", AVAILABLE)
def test_probabilities_are_near_those_of_float32_and_not_the_same(exported, demo_set, precision):
    images = find_images([demo_set])[:40]
    exact, found = (logits(exported, images, each) for each in ("float32", precision))
    assert 0 < np.linalg.norm(found - exact) <= NOISE[precision] * np.linalg.norm(exact)


@pytest.mark.skipif(not PADDLE_2, reason="only Paddle 2 quantizes so")
def test_sums_of_8_bit_products_do_not_overflow_without_vnni(tiny_network_of_ones, tmp_path):
    """Without VNNI oneDNN adds two products in 16 bits: every weight and activation here is near the largest."""
    gray = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 99, 99), np.float32)
    np.save(tmp_path / "images.npy", gray)
    exact = Predictor(tiny_network_of_ones).logits(gray)
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", IN_INT8, str(tiny_network_of_ones), str(tmp_path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    # Paddle cuts off the lightest images, and rounds the darkest away. In the middle, each of eight layers rounds
    # weights of 63.5 to 64 and activations of at least 64 by 0.5 at most: 0.8 % each.
    middle = slice(32, 42)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy")[middle], exact[middle], rtol=8 * (0.008 + 0.008))


IN_INT8 = """
import sys
from pathlib import Path
import paddle_alexnet, numpy as np
from paddle_alexnet.inference.paddle_inference import PaddleInference

model, place = map(Path, sys.argv[1:])
images = np.load(place / "images.npy")
files = {path.name: path.read_bytes() for path in model.iterdir()}
engine = PaddleInference(files, source=model, precision="int8", calibration=lambda: images)
np.save(place / "logits.npy", engine(images))
"""


@pytest.fixture(scope="module")
def tiny_network_of_ones(tmp_path_factory):
    """An exported network whose layers all give the mean of what they see."""
    network = AlexNet("tiny", 3)
    network.eval()
    for name, weight in network.named_parameters():
        inputs = weight.shape[0] if weight.ndim == 2 else np.prod(weight.shape[1:])
        weight.set_value(np.full(weight.shape, 0 if "bias" in name else 1 / inputs, np.float32))
    folder = tmp_path_factory.mktemp("ones") / "model"
    export_network(network, metadata_of(network), folder)
    return folder


@pytest.mark.skipif(not PADDLE_2, reason="only Paddle 2 quantizes so")
def test_the_ranges_are_set_by_the_images_of_a_folder(exported, demo_set):
    [image] = find_images([demo_set])[:1]
    answers = [
        next(Predictor(exported, precision="int8", calibration=folder).predict(image)).distribution
        for folder in (demo_set / "images" / "rings", demo_set / "images" / "waves", demo_set / "images" / "rings")
    ]
    assert np.array_equal(answers[0], answers[2])
    assert not np.array_equal(answers[0], answers[1])


@pytest.mark.skipif(not AVAILABLE, reason="this Paddle has no other precision")
def test_evaluate_states_the_cost(finished_run):
    result = run_tool("evaluate", finished_run.output, "--precision", AVAILABLE[0])
    lines = result.stdout.splitlines()
    in_float32 = next(line for line in lines if line.startswith("in float32: "))
    exact = run_tool("evaluate", finished_run.output).stdout.splitlines()[-1]
    assert exact.partition("images  ")[2] in in_float32
    top1, top1_exact = (float(line.partition("top1 ")[2].split()[0].rstrip(";")) for line in (lines[-2], in_float32))
    assert f"{AVAILABLE[0]} costs {100 * (top1_exact - top1):.1f} points of top1" in in_float32


def test_a_precision_that_is_not_to_be_had_is_one_line(finished_run, exported, demo_set):
    checkpoint = finished_run.output / "checkpoints" / "best"
    for precision in ("bfloat16", "int8"):
        result = run_tool("predict", checkpoint, demo_set, "--precision", precision)
        assert_user_error(result, f"precision {precision}", "inference/")
    other = "bfloat16" if PADDLE_2 else "int8"
    result = run_tool("predict", exported, demo_set, "--precision", other)
    if other == "int8" or result.returncode:
        assert_user_error(result, "use float32")
    else:  # with AMX Paddle 2 does compute this network in bfloat16, without it no more than one image
        images = find_images([demo_set])
        exact, rounded = (logits(exported, images, precision) for precision in ("float32", other))
        assert len(exact) == len(images)
        assert np.linalg.norm(rounded - exact) <= NOISE[other] * np.linalg.norm(exact)
    assert_user_error(run_tool("predict", exported, demo_set, "--calibration", demo_set), "requires precision int8")
    with pytest.raises(UserError, match="did you mean 'int8'"):
        Predictor(exported, precision="int4")


@pytest.mark.skipif(not PADDLE_2, reason="only Paddle 2 quantizes so")
def test_without_the_data_set_a_folder_is_asked_for(exported, demo_set, tmp_path, monkeypatch):
    elsewhere = shutil.copytree(exported, tmp_path / "model")
    monkeypatch.setattr("paddle_alexnet.inference.predictor.read_table", _gone)
    assert_user_error(run_tool("predict", elsewhere, demo_set, "--precision", "int8"), "as calibration")


def _gone(*arguments):
    raise UserError("the data set is gone")


@pytest.mark.skipif(not PADDLE_2, reason="only Paddle 2 quantizes so")
def test_the_ranges_are_those_of_the_input_that_is_asked_for(exported, demo_set):
    """Set by images that go through another preprocessing they would cut off most of these."""
    model, image = Predictor(exported), find_images([demo_set])[0]
    preprocess = replace(model.metadata.preprocess, std=(0.01, 0.01, 0.01))
    pixels = preprocess.pixels(image)
    exact, found = (
        Predictor(exported, precision=precision, preprocess=preprocess).logits(preprocess.batch(pixels[None]))
        for precision in ("float32", "int8")
    )
    assert np.linalg.norm(found - exact) <= NOISE["int8"] * np.linalg.norm(exact)


@pytest.mark.skipif(not PADDLE_2, reason="only Paddle 2 quantizes so")
def test_an_unreadable_image_sets_no_range(exported, demo_set, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        Predictor(exported, precision="int8", calibration=tmp_path / "empty")
    folder = shutil.copytree(demo_set / "images" / "rings", tmp_path / "images")
    (folder / "0.png").write_bytes(b"no picture")
    Predictor(exported, precision="int8", calibration=folder)
    for path in folder.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="no calibration image is readable"):
        Predictor(exported, precision="int8", calibration=folder)
