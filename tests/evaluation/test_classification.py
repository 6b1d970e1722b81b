"""Figures of a split, against values worked out by hand."""

import math

import numpy as np
import pytest

from paddle_alexnet.evaluation.classification import (
    class_figures,
    confident_mistakes,
    confused_pairs,
    confusion_matrix,
    interval_text,
    join_batches,
    rank_classes,
    wilson_interval,
)

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.9, 0.06, 0.04]])
TRUTH = np.array([0, 2, 1, 1])


def test_answers_hold_the_rank_and_the_loss_of_the_truth_and_the_most_probable_classes():
    answers = rank_classes(TRUTH, np.log(PROBABILITIES), top=2)
    assert answers.classes.tolist() == [[0, 1], [1, 2], [2, 0], [0, 1]]  # of the two equal ones the first
    assert answers.rank.tolist() == [1, 2, 3, 2]
    np.testing.assert_allclose(np.exp(-answers.loss), [0.7, 0.3, 0.2, 0.06])
    np.testing.assert_allclose(answers.probabilities[:, 0], [0.7, 0.6, 0.6, 0.9])
    assert [answers.top(k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


def test_batches_joined_are_the_whole():
    whole = rank_classes(TRUTH, np.log(PROBABILITIES))
    parts = join_batches(rank_classes(TRUTH[part], np.log(PROBABILITIES[part])) for part in (slice(3), slice(3, 4)))
    for name in ("truth", "loss", "rank", "classes", "probabilities"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_mistakes_come_with_the_most_confident_first():
    answers = rank_classes(TRUTH, np.log(PROBABILITIES))
    assert confident_mistakes(answers, 10).tolist() == [3, 1, 2]
    assert confident_mistakes(answers, 1).tolist() == [3]


def test_confusion_matrix_has_a_row_for_each_class_and_a_column_for_what_it_was_taken_for():
    confusion = confusion_matrix(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 0, 2]), 4)
    assert confusion.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    figures = class_figures(confusion)
    assert figures.count.tolist() == [3, 1, 2, 0]
    np.testing.assert_allclose(figures.precision, [1 / 2, 1 / 3, 1, np.nan])
    np.testing.assert_allclose(figures.recall, [1 / 3, 1, 1 / 2, np.nan])
    np.testing.assert_allclose(figures.f1, [0.4, 0.5, 2 / 3, np.nan])
    assert confused_pairs(confusion, 10) == [(0, 1, 2), (2, 0, 1)]


@pytest.mark.parametrize(
    ("right", "count", "published"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval_equals_newcombe_1998(right, count, published):
    """Statistics in Medicine 17:857-872, table I, method 3."""
    assert wilson_interval(right / count, count) == pytest.approx(published, abs=5e-5)
    low, high = wilson_interval(1 - right / count, count)  # what is right and what is wrong mirror each other
    assert (1 - high, 1 - low) == pytest.approx(published, abs=5e-5)


def test_100_of_100_is_no_certainty_and_nothing_of_nothing_says_nothing():
    assert interval_text(1.0, 100) == "95 %: 0.963 to 1.000"
    assert wilson_interval(math.nan, 0) == (0.0, 1.0)
