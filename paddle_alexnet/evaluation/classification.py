"""Classification metrics of a split: accuracy, confidence intervals, confusion matrix, precision, recall and F1."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class SplitPredictions:
    """The predictions for N labeled images, as parallel arrays."""

    truth: np.ndarray  # [N] int64, labels
    loss: np.ndarray  # [N] float64, cross-entropy
    rank: np.ndarray  # [N] int64, rank of the label by probability, from 1
    classes: np.ndarray  # [N, K] int64, the K most probable classes, most probable first
    probabilities: np.ndarray  # [N, K] float64, probabilities of `classes`

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, [N]."""
        return self.classes[:, 0]

    def top(self, k: int) -> float:
        """Return the top-`k` accuracy."""
        return float((self.rank <= k).mean())


def rank_classes(truth: np.ndarray, log_probabilities: np.ndarray, *, top: int = 5) -> SplitPredictions:
    """Return the predictions for labels [N] and log-probabilities [N, C]; ties go to the class with the lower index."""
    order = np.argsort(-log_probabilities, axis=1, kind="stable")
    rank = 1 + (order == truth[:, None]).argmax(axis=1)
    best = order[:, :top]
    probabilities = np.exp(np.take_along_axis(log_probabilities, best, axis=1))
    return SplitPredictions(truth, -log_probabilities[np.arange(len(truth)), truth], rank, best, probabilities)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of `count` images; (0, 1) if `count` is 0.

    It is the score interval without continuity correction (Wilson 1927, JASA 22:209-212). Unlike an interval from the
    standard error, its width at 0 and 1 is not zero.
    """
    if not count:
        return 0.0, 1.0
    z2 = 1.959963984540054**2 / count  # z²/n at the normal distribution's 97.5 % point
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def interval_text(share: float, count: int) -> str:
    """Return the `wilson_interval` as text, such as `95 %: 0.646 to 0.816`."""
    low, high = wilson_interval(share, count)
    return f"95 %: {low:.3f} to {high:.3f}"


def join_batches(parts: Iterable[SplitPredictions]) -> SplitPredictions:
    """Return the concatenated predictions of batches."""
    listed = list(parts)
    return SplitPredictions(
        *(np.concatenate([getattr(part, entry.name) for part in listed]) for entry in fields(SplitPredictions))
    )


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the number of images of each class (row) by predicted class (column), int64 [C, C]."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class ClassFigures:
    """Metrics of each class, [C]; NaN if the divisor is 0."""

    count: np.ndarray  # int64, images of the class
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def class_figures(confusion: np.ndarray) -> ClassFigures:
    """Return the metrics of each class of a confusion matrix [C, C]."""
    right, count, taken = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return ClassFigures(count, right / taken, right / count, 2 * right / (count + taken))


def confident_mistakes(predictions: SplitPredictions, most: int) -> np.ndarray:
    """Return the indices of the `most` wrong predictions with the highest probabilities, highest first."""
    wrong = np.flatnonzero(predictions.rank > 1)
    return wrong[np.argsort(-predictions.probabilities[wrong, 0], kind="stable")[:most]]


def confused_pairs(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Return the `most` frequent mistakes, most frequent first: class, predicted class, number of images."""
    mistakes = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, mistakes.shape))
    return [(int(row), int(column), int(mistakes[row, column])) for row, column in pairs if mistakes[row, column]]
