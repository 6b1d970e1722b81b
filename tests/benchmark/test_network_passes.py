"""The benchmark of a network: what it prints and writes. How fast anything is, no test says."""

import json
import re
import sys

import numpy as np
import pytest
from helpers import assert_user_error, run_tool

from paddle_alexnet import UserError, load_config
from paddle_alexnet.benchmark.network_passes import benchmark_network, format_report
from paddle_alexnet.benchmark.runner import PASSES
from paddle_alexnet.network.kernels import library

CPU = load_config(None, ["device=cpu"])
SHORT = {"config": CPU, "batch_size": 2, "burn_in": 1, "steps": 2}


@pytest.mark.slow
def test_tool_prints_as_tensorflow_s_does_and_writes_json(tmp_path):
    path = tmp_path / "times.json"
    options = ("--batch-size", 2, "--burn-in", 0, "--steps", 2, "--num-classes", 5, "--json", path)
    result = run_tool("benchmark", "network", "half", *options)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "conv1 Conv2D   [2, 48, 55, 55]" in lines
    assert "fc8 Linear   [2, 5]" in lines
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


def test_backends_take_turns_and_are_compared(tiny, caplog):
    caplog.set_level("INFO", "paddle_alexnet")
    report = benchmark_network("tiny", lrn=["band", "native", "band"], **SHORT)
    assert [result["runner"] for result in report["results"]] == ["paddle band", "paddle native"] * 3
    assert [ratio["step"] for ratio in report["ratios"]] == list(PASSES)
    for ratio in report["ratios"]:
        assert (ratio["time_of"], ratio["over"]) == ("paddle native", "paddle band")
        assert 0 < ratio["p10"] <= ratio["median"] <= ratio["p90"]
    assert re.findall(r"paddle (\w+): step 0, duration", caplog.text) == ["band", "native"] * 3
    assert "Training step: time of paddle native / time of paddle band = " in format_report(report)


def test_kernels_take_turns(tiny):
    if not library.built():
        pytest.skip("the compiled kernels are not built here: make fast")
    report = benchmark_network("tiny", kernels=["compiled", "paddle"], **SHORT)
    assert [result["runner"] for result in report["results"]][:2] == ["compiled", "paddle native"]
    assert report["ratios"][0]["over"] == "compiled"


@pytest.mark.slow
def test_benchmark_network_with_wrong_arguments_is_a_user_error(tiny, tmp_path, monkeypatch):
    assert_user_error(run_tool("benchmark", "network", "hal"), "did you mean 'half'")
    assert_user_error(run_tool("benchmark", "network", "half", "--json", tmp_path / "nowhere" / "x.json"), "nowhere")
    with pytest.raises(UserError, match="no LRN"):
        benchmark_network("half", num_classes=2, lrn=["band", "native"], **SHORT)
    with pytest.raises(UserError, match="did you mean 'native'"):
        benchmark_network("tiny", lrn=["nativ"], **SHORT)
    with pytest.raises(UserError, match="1 or more"):
        benchmark_network("tiny", **{**SHORT, "batch_size": 0})
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(UserError, match=r'pip install "paddle-alexnet\[torch\]"'):
        benchmark_network("tiny", against="torch", **SHORT)
