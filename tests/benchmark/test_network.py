"""The benchmark: what it prints and writes. How fast anything is, no test says."""

import importlib.util
import json
import re
import sys

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, run_tool

from paddle_alexnet import PRESETS, AlexNet, UserError, load_config
from paddle_alexnet.benchmark import network as module
from paddle_alexnet.benchmark.network import benchmark_network as benchmark
from paddle_alexnet.benchmark.network import paddle_runner, time_in_turn
from paddle_alexnet.benchmark.runner import PASSES, Runner
from paddle_alexnet.benchmark.torch_twin import torch_twin
from paddle_alexnet.network.presets import LRN, Conv, Dropout, Flatten, Linear, MaxPool, Preset, ReLU

CPU = load_config(None, ["device=cpu"])
SHORT = {"config": CPU, "batch_size": 2, "burn_in": 1, "steps": 2}
WITH_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture
def tiny(monkeypatch):
    """A preset that takes no time, with all kinds of layers; the peak is measured in no time either."""
    blocks = {
        "block1": (Conv(8, 3, stride=2, padding="SAME"), ReLU(), LRN(), MaxPool()),
        "out_fc": (Flatten(), Dropout(), Linear(8 * 7 * 7, None)),
    }
    monkeypatch.setitem(PRESETS, "tiny", Preset(source="test", image_size=32, blocks=blocks, num_classes=3))
    monkeypatch.setattr(module, "PEAK_SIDE", 32)


@pytest.mark.slow
def test_tool_prints_as_tensorflow_s_does_and_writes_json(tmp_path):
    path = tmp_path / "times.json"
    options = ("--batch-size", 2, "--burn-in", 0, "--steps", 2, "--num-classes", 5, "--json", path)
    result = run_tool("benchmark", "half", *options)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "features.0 Conv2D   [2, 48, 55, 55]" in lines
    assert "classifier.7 Linear   [2, 5]" in lines
    assert "Forward, network in eval mode" in lines
    assert "Training step, network in train mode" in lines
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}: "
    assert sum(bool(re.fullmatch(rf"{stamp}step 0, duration = \d+\.\d{{3}}", line)) for line in lines) == 3
    for step in PASSES:
        summary = rf"{stamp}{step} across 2 steps, \d+\.\d{{3}} \+/- \d+\.\d{{3}} sec / batch"
        assert sum(bool(re.fullmatch(summary, line)) for line in lines) == 1

    report = json.loads(path.read_text())
    assert (report["preset"], report["num_classes"], report["batch_size"], report["steps"]) == ("half", 5, 2, 2)
    assert report["threads"] >= 1
    assert report["optimizer"] == "adam"
    assert len(report["activations"]) == 21
    macs = 311_191_824 - 2048 * 995
    assert report["forward_gflop"] == pytest.approx(2 * 2 * macs / 1e9)
    assert [result["step"] for result in report["results"]] == list(PASSES)
    assert [result["mode"] for result in report["results"]] == ["eval", "train", "train"]
    for result, passes in zip(report["results"], PASSES.values()):
        assert len(result["durations_s"]) == 2
        assert min(result["durations_s"]) > 0
        assert result["mean_s"] == pytest.approx(np.mean(result["durations_s"]))
        assert result["images_per_s"] == pytest.approx(2 / result["mean_s"])
        assert result["gflops"] == pytest.approx(passes * report["forward_gflop"] / result["mean_s"])
        assert result["percent_of_peak"] == pytest.approx(100 * result["gflops"] / report["peak_gflops"])
    assert report["ratios"] == []


def test_backends_take_turns_and_are_compared(tiny, capsys):
    report = benchmark("tiny", lrn=["band", "native", "band"], **SHORT)
    assert [result["runner"] for result in report["results"]] == ["paddle band", "paddle native"] * 3
    assert [ratio["step"] for ratio in report["ratios"]] == list(PASSES)
    for ratio in report["ratios"]:
        assert (ratio["time_of"], ratio["over"]) == ("paddle native", "paddle band")
        assert 0 < ratio["p10"] <= ratio["median"] <= ratio["p90"]
    printed = capsys.readouterr().out
    assert re.findall(r"paddle (\w+): step 0, duration", printed) == ["band", "native"] * 3
    assert "Training step: time of paddle native / time of paddle band = " in printed


def test_burn_in_is_not_timed_and_every_tenth_step_has_a_line(capsys):
    done = []
    network = paddle.nn.ReLU()
    runners = [Runner(name, network, {"Forward": lambda name=name: done.append(name)}, int) for name in "ab"]
    durations = time_in_turn(runners, "Forward", burn_in=3, steps=21)
    assert done == ["a", "b"] * 24
    assert not network.training
    assert len(durations["a"]) == len(durations["b"]) == 21
    assert re.findall(r"(\w): step (\d+), duration", capsys.readouterr().out) == [
        (name, step) for step in ("0", "10", "20") for name in "ab"
    ]


def test_only_the_training_step_changes_the_weights(tiny):
    network = AlexNet("tiny")
    image, label = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32), np.array([0, 1])
    runner = paddle_runner(network, image, label, CPU, "cpu")
    before = network.block1[0].weight.numpy()
    runner.steps["Forward"]()
    runner.steps["Forward-backward"]()
    assert (network.block1[0].weight.numpy() == before).all()
    assert all(parameter.grad is None for parameter in network.parameters())
    runner.steps["Training step"]()
    assert (network.block1[0].weight.numpy() != before).any()


@pytest.mark.slow
def test_errors_are_a_user_s(tiny, tmp_path, monkeypatch):
    assert_user_error(run_tool("benchmark", "hal"), "did you mean 'half'")
    assert_user_error(run_tool("benchmark", "half", "--json", tmp_path / "nowhere" / "x.json"), "nowhere")
    with pytest.raises(UserError, match="no LRN"):
        benchmark("half", num_classes=2, lrn=["band", "native"], **SHORT)
    with pytest.raises(UserError, match="did you mean 'native'"):
        benchmark("tiny", lrn=["nativ"], **SHORT)
    with pytest.raises(UserError, match="1 or more"):
        benchmark("tiny", **{**SHORT, "batch_size": 0})
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(UserError, match=r'pip install -e "\.\[parity\]"'):
        benchmark("tiny", against="torch", **SHORT)


@pytest.mark.parity
@WITH_TORCH
@pytest.mark.parametrize("preset", PRESETS)
def test_the_network_in_pytorch_is_the_same(preset):
    import torch

    network = AlexNet(preset, 10)
    network.eval()
    image = 50 * np.random.default_rng(0).standard_normal((2, 3, network.image_size, network.image_size), np.float32)
    with paddle.no_grad(), torch.no_grad():
        ours = network(paddle.to_tensor(image)).numpy()
        theirs = torch_twin(network).eval()(torch.from_numpy(image)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours).max()


@pytest.mark.parity
@WITH_TORCH
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_pytorch_takes_turns_with_paddle(tiny, optimizer):
    config = load_config(None, ["device=cpu", f"optimizer.name={optimizer}"])
    report = benchmark("tiny", against="torch", **{**SHORT, "config": config})
    assert [result["runner"] for result in report["results"]][1::2] == ["torch"] * 3
    assert [ratio["time_of"] for ratio in report["ratios"]] == ["torch"] * 3
