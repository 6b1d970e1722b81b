"""Figures of a split from what a network answers for each of its images: exact, in NumPy alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Answers:
    """What a network answers for N images; the arrays run beside each other."""

    truth: np.ndarray  # [N] int64, the class of each
    loss: np.ndarray  # [N] float64, its cross-entropy: minus the logarithm of the truth's probability
    rank: np.ndarray  # [N] int64, of the truth among all classes: 1 where the most probable class is right
    classes: np.ndarray  # [N, K] int64, the K most probable classes, most probable first
    probabilities: np.ndarray  # [N, K] float64, theirs

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, [N]."""
        return self.classes[:, 0]

    def top(self, k: int) -> float:
        """The share of images whose truth is among the `k` most probable classes."""
        return float((self.rank <= k).mean())


def answers_of(truth: np.ndarray, log_probabilities: np.ndarray, *, top: int = 5) -> Answers:
    """The answers that log-probabilities [N, C] are; of two equal ones the class with the lower index comes first."""
    order = np.argsort(-log_probabilities, axis=1, kind="stable")
    rank = 1 + (order == truth[:, None]).argmax(axis=1)
    best = order[:, :top]
    probabilities = np.exp(np.take_along_axis(log_probabilities, best, axis=1))
    return Answers(truth, -log_probabilities[np.arange(len(truth)), truth], rank, best, probabilities)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share that was measured on `count` images.

    The score interval without continuity correction (Wilson 1927, JASA 22:209-212). Unlike the share plus or minus
    its standard error, it has a width at 0 and at 1 too. It is (0, 1) without images.
    """
    if not count:
        return 0.0, 1.0
    z2 = 1.959963984540054**2 / count  # the square of the normal distribution's 97.5 % point, by image
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def interval_text(share: float, count: int) -> str:
    """Return the `wilson_interval` as text, such as `95 %: 0.646 to 0.816`."""
    low, high = wilson_interval(share, count)
    return f"95 %: {low:.3f} to {high:.3f}"


def join(parts: Iterable[Answers]) -> Answers:
    """The answers of several batches, one after the other."""
    listed = list(parts)
    return Answers(*(np.concatenate([getattr(part, entry.name) for part in listed]) for entry in fields(Answers)))


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many images of each class (row) were taken for each class (column), int64 [C, C]."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class ClassFigures:
    """Figures of each class, [C]; NaN where there is nothing to divide by."""

    count: np.ndarray  # int64, its images
    precision: np.ndarray  # of the images taken for it, the share that is of it
    recall: np.ndarray  # of its images, the share that was taken for it
    f1: np.ndarray  # harmonic mean of precision and recall


def class_figures(confusion: np.ndarray) -> ClassFigures:
    """The figures of each class of a confusion matrix [C, C]."""
    right, count, taken = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return ClassFigures(count, right / taken, right / count, 2 * right / (count + taken))


def confident_mistakes(answers: Answers, most: int) -> np.ndarray:
    """The indices of the `most` images that were taken for a wrong class with the highest probability, it first."""
    wrong = np.flatnonzero(answers.rank > 1)
    return wrong[np.argsort(-answers.probabilities[wrong, 0], kind="stable")[:most]]


def confused_pairs(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The `most` frequent kinds of mistakes, most frequent first: class, class it was taken for, number of images."""
    mistakes = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, mistakes.shape))
    return [(int(row), int(column), int(mistakes[row, column])) for row, column in pairs if mistakes[row, column]]
