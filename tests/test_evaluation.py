"""Figures of a split: exact, the same from a checkpoint and from the exported folder."""

import math
import shutil

import numpy as np
import pytest
from helpers import assert_user_error, run_tool

from paddle_alexnet import Predictor
from paddle_alexnet.evaluation import Predictions, evaluate, figures, open_table, predict_split
from paddle_alexnet.metrics import log_softmax


@pytest.fixture(scope="module")
def predictor(finished_run):
    return Predictor(finished_run.output)


def test_figures_are_means_over_images_not_batches():
    """Probabilities 1/2, 1/4, 1/8 of the true class, the first of them the most probable."""
    shares = np.array([[1 / 2, 3 / 8, 1 / 8], [1 / 4, 5 / 8, 1 / 8], [1 / 8, 3 / 4, 1 / 8]])
    truth = np.zeros(3, np.int64)
    batches = [Predictions(np.arange(3)[part], truth[part], np.log(shares[part])) for part in (slice(2), slice(2, 3))]
    result = figures(batches)
    assert result.images == 3
    assert result.top1 == pytest.approx(1 / 3)
    assert result.loss == pytest.approx(2 * math.log(2))


def test_every_image_is_predicted_once_in_order_and_as_the_predictor_does(predictor):
    table = open_table(predictor, None, None)
    batches = list(predict_split(predictor, table, "test", batch_size=4))
    assert [len(batch.truth) for batch in batches] == [4, 4, 2]
    assert np.concatenate([batch.index for batch in batches]).tolist() == list(range(10))
    logarithms = np.concatenate([batch.log_probabilities for batch in batches])
    np.testing.assert_allclose(np.exp(logarithms).sum(axis=1), 1)
    result = evaluate(predictor, split="test", batch_size=3)
    assert result.loss == pytest.approx(figures(batches).loss, rel=1e-6)


def test_log_softmax_of_large_logits():
    expected = [[0, -1000], [math.log(1 / 2)] * 2]
    np.testing.assert_allclose(log_softmax(np.array([[1e3, 0], [5e4, 5e4]], np.float32)), expected)


def test_checkpoint_and_exported_folder_agree(predictor, finished_run):
    ours, theirs = (evaluate(p, split="test") for p in (predictor, Predictor(finished_run.output / "inference")))
    assert ours.images == theirs.images == 10
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    assert ours.top1 == theirs.top1


def test_other_classes_are_one_line(finished_run, demo_set, tmp_path):
    root = shutil.copytree(demo_set, tmp_path / "data")
    names = (root / "classes.txt").read_text().splitlines()
    (root / "classes.txt").write_text("\n".join(reversed(names)))
    assert_user_error(run_tool("evaluate", finished_run.output, "--root", root), "classes")
