"""How good a trained network is: model × split → predictions of every image, once each → figures."""

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
    """What a network makes of a batch of a split's images."""

    index: np.ndarray  # [N] int64, of the image in the split
    truth: np.ndarray  # [N] int64, its class
    log_probabilities: np.ndarray  # [N, C] float64


@dataclass(frozen=True)
class Evaluation:
    """Means over the images of a split; `top_k` is the share whose class is among the k most probable, if k was asked.

    Of classes that are equally probable the first one counts as the more probable.
    """

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
    """Evaluate on a split of the data set that the network was trained on, or of another one.

    Raises UserError if the data set is not there, if it has a label that is none of the network's classes, or if
    `top_k` is not within their number, and see `predict_split`.
    """
    predictor.metadata.check_top_k(top_k)
    table = open_table(predictor, root, csv)
    return figures(predict_split(predictor, table, split, batch_size=batch_size, crops=crops), top_k=top_k)


def open_table(predictor: Predictor, root: Optional[Path], csv: Optional[Path]) -> ImageTable:
    """The table of a data set, by default of the one that the network was trained on.

    Its labels are the network's classes, by name or wnid, in the network's order. Raises UserError for another label.
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
    """Yield the predictions of a split's images by the batch, in the table's order.

    With `crops=10` the probabilities are the means over the patch's corners and center and their mirror images, as in
    section 4.1 of the paper. Raises UserError if the network sees the whole patch, so that there is nothing to crop.
    """
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
    """The means over every image that was predicted."""
    return means(collect(predictions), top_k=top_k)


def means(answers: Answers, *, top_k: Optional[int] = None) -> Evaluation:
    """The means over every answer."""
    within = None if top_k is None else answers.top(top_k)
    return Evaluation(float(answers.loss.mean()), answers.top(1), len(answers.truth), within)


def collect(predictions: Iterable[Predictions], *, top: int = 5) -> Answers:
    """The answers for every image that was predicted."""
    return join(answers_of(batch.truth, batch.log_probabilities, top=top) for batch in predictions)
