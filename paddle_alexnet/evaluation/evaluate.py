"""Evaluation of a model on a split, counting every image once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np

from paddle_alexnet.data.dataset import ImageDataset
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.evaluation.classification import Answers, answers_of, join
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress


@dataclass(frozen=True)
class Predictions:
    """The predictions for a batch of a split."""

    index: np.ndarray  # [N] int64, positions in the split
    truth: np.ndarray  # [N] int64, labels
    log_probabilities: np.ndarray  # [N, C] float64


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracies over a split; ties between classes go to the lower index."""

    loss: float
    top1: float
    images: int
    top_k: Optional[float] = None


def evaluate(
    predictor: Predictor,
    *,
    split: str = "val",
    root: Optional[Path] = None,
    csv: Optional[Path] = None,
    batch_size: int = 32,
    crops: Literal[1, 10] = 1,
    top_k: Optional[int] = None,
) -> Evaluation:
    """Return the mean loss and accuracies of a model on a split.

    Args:
        split: `train`, `val` or `test`.
        root: Folder of images; default: that of the model's training.
        csv: Table of labels; default: `labels.csv` in `root`.
        crops: 1, or 10 for the mean over center, corners and their mirror images (section 4.1 of the paper).
        top_k: K of an additional top-K accuracy.

    Raises:
        UserError: The data set is not found, has a label that the model lacks, `top_k` exceeds the number of classes,
            or the preprocessing leaves no room for 10 crops.
    """
    predictor.metadata.check_top_k(top_k)
    table = open_table(predictor, root, csv)
    return figures(predict_split(predictor, table, split, batch_size=batch_size, crops=crops), top_k=top_k)


def open_table(predictor: Predictor, root: Optional[Path], csv: Optional[Path]) -> ImageTable:
    """Return the table of a data set, by default the model's, with labels in the model's order of classes.

    Raises:
        UserError: The data set is not found, or has a label that the model lacks by name and wnid.
    """
    metadata = predictor.metadata
    root, csv = metadata.origin.dataset(root, csv)
    try:
        table = read_table(root, csv, metadata.classes)
        say_notes(root, table.notes)
        return table
    except UserError as error:
        if "not in the class list" not in str(error):
            raise
        names = ", ".join(metadata.classes.names[:3])
        raise UserError(f"{error}; the list is the model's: {names}{', …' * (len(metadata.classes) > 3)}") from None


def predict_split(
    predictor: Predictor, table: ImageTable, split: str, *, batch_size: int = 32, crops: Literal[1, 10] = 1
) -> Iterator[Predictions]:
    """Yield the predictions for a split by batch, in the table's order; arguments as of `evaluate`."""
    predictor.metadata.check_crops(crops)
    preprocess = predictor.metadata.preprocess
    loader = Loader(ImageDataset(table, split, preprocess), preprocess, batch_size=batch_size, crops=crops)
    done = 0
    for image, label in progress(loader, what=f"evaluating {split}", total=len(loader)):
        truth = label.numpy()
        logarithms = predictor.log_probabilities(image.numpy(), crops=crops)
        yield Predictions(np.arange(done, done + len(truth)), truth, logarithms)
        done += len(truth)


def figures(predictions: Iterable[Predictions], *, top_k: Optional[int] = None) -> Evaluation:
    """Return the mean loss and accuracies of predictions."""
    return means(collect(predictions), top_k=top_k)


def means(answers: Answers, *, top_k: Optional[int] = None) -> Evaluation:
    """Return the mean loss and accuracies of answers."""
    within = None if top_k is None else answers.top(top_k)
    return Evaluation(float(answers.loss.mean()), answers.top(1), len(answers.truth), within)


def collect(predictions: Iterable[Predictions], *, top: int = 5) -> Answers:
    """Return the answers of all batches, each with its `top` most probable classes."""
    return join(answers_of(batch.truth, batch.log_probabilities, top=top) for batch in predictions)
