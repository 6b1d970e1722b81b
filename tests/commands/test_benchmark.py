"""`benchmark network` and `benchmark loader`: each has options of its own, and says so where one is wrong."""

import json

import pytest
from helpers import assert_user_error, run_tool

import paddle_alexnet.benchmark.data_loading as loader
import paddle_alexnet.benchmark.network_passes as network


@pytest.fixture
def calls(monkeypatch):
    """What the two functions are called with, in place of measuring; tests/benchmark measures."""
    import pandas as pd

    seen = []

    def benchmark_network(preset, **options):
        seen.append(("network", preset, options))
        return {"preset": preset, "images_per_second": 12.5}

    def benchmark_loader(root, **options):
        seen.append(("loader", root, options))
        return pd.DataFrame([{"stage": "decode", "workers": 1, "images_per_second": 50.0, "times_plain": 1.0}])

    monkeypatch.setattr(network, "benchmark_network", benchmark_network)
    monkeypatch.setattr(loader, "benchmark_loader", benchmark_loader)
    for module, name in ((network, "format_report"), (loader, "format_loading")):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda report: "")
    return seen


def test_benchmark_network_passes_its_options_on(calls, tmp_path):
    words = ("--lrn", "band,builtin", "--burn-in", 0, "--steps", 3, "--batch-size", 4, "--num-classes", 7)
    path = tmp_path / "times.json"
    result = run_tool("benchmark", "network", "half", *words, "--device", "cpu", "--json", path)
    assert result.returncode == 0, result.stderr
    [(_, preset, options)] = calls
    assert preset == "half"
    config = options.pop("config")
    assert (config.device, config.optimizer.name) == ("cpu", "adam")
    expected = {
        "lrn": ["band", "builtin"],
        "kernels": None,
        "burn_in": 0,
        "steps": 3,
        "batch_size": 4,
        "num_classes": 7,
        "against": None,
    }
    assert options == expected
    assert json.loads(path.read_text()) == {"preset": "half", "images_per_second": 12.5}
    assert f"wrote {path}" in result.stdout


def test_benchmark_loader_passes_its_options_on(calls, demo_set, tmp_path):
    path = tmp_path / "times.json"
    result = run_tool("benchmark", "loader", demo_set, "--batch-size", 4, "--device", "cpu", "--json", path)
    assert result.returncode == 0, result.stderr
    assert calls == [("loader", demo_set, {"batch_size": 4, "device": "cpu"})]
    assert json.loads(path.read_text())["stages"][0]["images_per_second"] == 50.0


def test_without_a_root_the_loader_times_the_demo_set(calls):
    assert run_tool("benchmark", "loader").returncode == 0
    assert calls == [("loader", None, {"batch_size": 32, "device": "auto"})]


@pytest.mark.parametrize(
    "words, part",
    [
        (["network", "--steps", "0"], "1 or more"),
        (["network", "--burn-in", "-1"], "0 or more"),
        (["network", "--batch-size", "many"], "1 or more"),
        (["network", "--json", "/nowhere/at/all.json"], " not found; make it"),
        (["network", "alexnet"], "unknown preset"),
        (["network", "--root", "x"], "not an option of benchmark"),
        (["loader", "--lrn", "band"], "unrecognized"),
        (["loader", "--steps", "3"], "unrecognized"),
        (["data"], "invalid choice: 'data'"),
        ([], "SUBJECT"),
    ],
)
def test_benchmark_with_wrong_options_is_a_user_error(calls, words, part):
    assert_user_error(run_tool("benchmark", *words), part)
    assert calls == []
