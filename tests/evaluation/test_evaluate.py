"""Figures of a split: exact, the same from a checkpoint and from the exported folder."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_user_error, run_tool
from rounding import LOSS

from paddle_alexnet import Predictor, UserError
from paddle_alexnet.evaluation.classification import join_batches, rank_classes
from paddle_alexnet.evaluation.evaluate import evaluate, mean_figures, open_table, predict_split
from paddle_alexnet.inference.engine import log_softmax
from paddle_alexnet.inference.predictor import top_classes
from paddle_alexnet.runs.metadata import to_json
from paddle_alexnet.runs.model_folder import read_model


@pytest.fixture(scope="module")
def predictor(finished_run):
    return Predictor(finished_run.output)


def test_figures_are_means_over_images_not_batches():
    """Probabilities 1/2, 1/4, 1/8 of the true class, the first of them the most probable."""
    shares = np.array([[1 / 2, 3 / 8, 1 / 8], [1 / 4, 5 / 8, 1 / 8], [1 / 8, 5 / 8, 1 / 4]])
    truth = np.zeros(3, np.int64)
    predictions = join_batches(rank_classes(truth[part], np.log(shares[part])) for part in (slice(2), slice(2, 3)))
    result = mean_figures(predictions)
    assert result.images == 3
    assert result.top1 == pytest.approx(1 / 3)
    assert result.loss == pytest.approx(2 * math.log(2))
    assert result.top_k is None
    assert mean_figures(predictions, top_k=2).top_k == pytest.approx(2 / 3)
    assert mean_figures(predictions, top_k=3).top_k == 1


def test_rank_of_equally_probable_classes_is_by_index_as_in_predict():
    logarithms = np.log(np.full((3, 3), 1 / 3))
    places = [top_classes(row, 3).tolist().index(truth) for row, truth in zip(logarithms, range(3))]
    assert (rank_classes(np.arange(3), logarithms).rank - 1).tolist() == places == [0, 1, 2]


def test_every_image_is_predicted_once_in_order_and_as_the_predictor_does(predictor):
    table = open_table(predictor, None, None)
    predictions = predict_split(predictor, table, "test", batch_size=4, top=10)
    assert predictions.truth.tolist() == table.labels[table.rows("test")].tolist()
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    result = evaluate(predictor, split="test", batch_size=3)
    assert result.loss == pytest.approx(predictions.loss.mean(), rel=LOSS)


def test_log_softmax_of_large_logits():
    expected = [[0, -1000], [math.log(1 / 2)] * 2]
    np.testing.assert_allclose(log_softmax(np.array([[1e3, 0], [5e4, 5e4]], np.float32)), expected)


def test_checkpoint_and_exported_folder_agree(predictor, finished_run):
    ours, theirs = (evaluate(p, split="test") for p in (predictor, Predictor(finished_run.output / "inference")))
    assert ours.images == theirs.images == 10
    assert ours.loss == pytest.approx(theirs.loss, rel=LOSS)
    assert ours.top1 == theirs.top1


def test_predict_gives_the_same_to_the_last_digit(predictor):
    table = open_table(predictor, None, None)
    expected = predict_split(predictor, table, "test", top=10)
    images = [table.root / name for name in table.filenames[table.rows("test")]]
    probabilities = np.stack([found.probabilities for found in predictor.predict(images, top=None)])
    np.testing.assert_array_equal(probabilities, expected.probabilities)


def test_labels_are_the_model_s_classes_in_the_model_s_order(finished_run, demo_set, tmp_path):
    """As of a run with data.classes, whose file is not beside the CSV; and a list there in another order."""
    root = shutil.copytree(demo_set, tmp_path / "data")
    names = (root / "classes.txt").read_text().splitlines()
    ours = run_tool("evaluate", finished_run.output, "--split", "test", "--top-k", 10)
    assert "top10 1.0000" in ours.stdout
    for change in (lambda path: path.write_text("\n".join(reversed(names))), Path.unlink):
        change(root / "classes.txt")
        theirs = run_tool("evaluate", finished_run.output, "--split", "test", "--top-k", 10, "--root", root)
        assert (theirs.returncode, theirs.stdout) == (0, ours.stdout), theirs.stderr
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace("rings", "zebra"))
    assert_user_error(run_tool("evaluate", finished_run.output, "--root", root), "zebra", "model's", names[0])


def test_evaluate_with_top_k_above_the_classes_is_a_user_error(finished_run):
    assert_user_error(run_tool("evaluate", finished_run.output, "--top-k", 11), "top_k is 11", "10 classes")


def test_a_run_that_moved_evaluates_and_data_that_moved_are_asked_for(finished_run, demo_set, tmp_path):
    data = shutil.copytree(demo_set, tmp_path / "data")
    run = shutil.copytree(finished_run.output, tmp_path / "elsewhere" / "run")
    for name in ("checkpoints/best", "inference"):
        model = read_model(run / name)
        origin = replace(model.metadata.origin, data_root=str(data), data_csv=str(data / "labels.csv"))
        content = to_json(replace(model.metadata, origin=origin))
        (run / name / "metadata.json").write_bytes(content)
    assert run_tool("evaluate", ".", "--split", "test", cwd=run).returncode == 0
    data.rename(tmp_path / "moved")
    assert_user_error(run_tool("evaluate", run), f"{data}: image folder not found", "name its folder as root")
    assert run_tool("evaluate", run / "inference", "--root", tmp_path / "moved", "--split", "test").returncode == 0


def test_another_input_is_said_and_changes_the_figures(finished_run):
    whole = run_tool("evaluate", finished_run.output, "--split", "test")
    part = run_tool("evaluate", finished_run.output, "--split", "test", "--resize", 300, "--std", "1,1,1")
    assert "input: the whole image at 131×131, mean" in whole.stdout
    assert "input: the whole image at 300×300, of it the central 131×131, mean" in part.stdout
    assert "std [1.0, 1.0, 1.0]" in part.stdout
    assert whole.stdout.splitlines()[-1] != part.stdout.splitlines()[-1]


def test_a_network_whose_answers_are_no_numbers_is_one_line(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "logits", lambda image: np.full((len(image), 10), np.nan, np.float32))
    with pytest.raises(UserError, match="computes NaN or infinity"):
        evaluate(predictor, split="test")


def test_figures_are_written_as_json(finished_run, tmp_path):
    done = run_tool("evaluate", finished_run.output, "--json", tmp_path / "a.json", "--top-k", 3)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["split"], found["images"], found["k"]) == ("val", 10, 3)
    assert f"loss {found['loss']:.6f}  top1 {found['top1']:.4f}" in done.stdout
    assert sum(row["count"] for row in found["classes"].values()) == 10
