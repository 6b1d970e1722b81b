"""The benchmark of exported networks: what it times and says. How fast anything is, no test says."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from helpers import assert_user_error, run_tool
from rounding import LOGITS

from paddle_alexnet import AlexNet
from paddle_alexnet.benchmark import prediction
from paddle_alexnet.benchmark.prediction import benchmark_prediction, format_predictions


def test_every_engine_computes_the_network_and_a_slow_choice_is_marked(tiny, tmp_path, monkeypatch):
    path = tmp_path / "times.json"
    result = run_tool("benchmark", "predict", "tiny", "--batch-size", 1, 3, "--steps", 1, "--json", path)
    assert result.returncode == 0, result.stderr
    report = json.loads(path.read_text())
    engines = {row["engine"] for row in report["results"]}
    assert {"oneDNN", "plain"} <= engines <= {"oneDNN", "plain", "PyTorch", "ONNX Runtime"}
    assert len(report["results"]) == 2 * len(engines)
    for row in report["results"]:
        assert row["ms"] > 0
        assert row["images_per_s"] == pytest.approx(1000 * row["batch_size"] / row["ms"])
        assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / report["peak_gflops"])
    [*_, first, second, _, _] = result.stdout.splitlines()[:-1]
    assert [line.split()[:2] for line in (first, second)] == [["tiny", "1"], ["tiny", "3"]]

    monkeypatch.setattr(prediction, "_engines", lambda network: {})
    for plain, slower in ((0.5, True), (0.95, False)):
        monkeypatch.setattr(prediction, "_time_in_turn", lambda *_, plain=plain: {"oneDNN": 1.0, "plain": plain})
        report = benchmark_prediction(["tiny"], batch_sizes=[1])
        assert [row["slower"] for row in report["results"]] == [slower, False]
        assert ("SLOWER than plain" in format_predictions(report)) == slower


def test_the_engines_are_the_same_network(tiny):
    network = AlexNet("tiny")
    network.eval()
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    expected = network(prediction.paddle.to_tensor(image)).numpy()
    for engine in prediction._engines(network).values():
        assert np.abs(engine(image) - expected).max() <= LOGITS * np.abs(expected).max()


def test_a_folder_is_predicted_from_files_to_probabilities(tiny, demo_set, tmp_path):
    path, images = tmp_path / "times.json", demo_set / "images" / "rings"
    words = ("benchmark", "predict", "tiny", "--batch-size", 4, "--folder", images, "--json", path)
    result = run_tool(*words)
    assert result.returncode == 0, result.stderr
    report = json.loads(path.read_text())
    assert report["images"] == len(list(images.iterdir()))
    rates = report["images_per_s"]
    assert set(rates) == ({"predict", "plain PyTorch"} if find_spec("torch") else {"predict"})
    assert all(rate > 0 for rate in rates.values())
    if len(rates) == 2:
        assert report["times_plain"] == pytest.approx(rates["predict"] / rates["plain PyTorch"])
        assert f"{report['times_plain']:.2f} times as fast" in result.stdout


def test_benchmark_predict_with_wrong_arguments_is_a_user_error(tiny, tmp_path):
    assert_user_error(run_tool("benchmark", "predict", "--folder", tmp_path), "one preset")
    one = ("benchmark", "predict", "tiny", "--batch-size", 4, "--folder")
    assert_user_error(run_tool(*one, tmp_path), str(tmp_path))
    assert_user_error(run_tool(*one, tmp_path, "--steps", 3), "--steps: has no effect")
    assert_user_error(run_tool("benchmark", "predict", "hal"), "did you mean 'half'")
    assert_user_error(run_tool("benchmark", "predict", "--batch-size", 0), "1 or more")
