"""How good a trained network is: model × split → predictions of every image, once each → figures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np

from paddle_alexnet.data.dataset import LabelledImages
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.errors import UserError
from paddle_alexnet.predictor import Predictor
from paddle_alexnet.progress import progress


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
        return read_table(root, csv, metadata.classes)
    except UserError as error:
        if "not in the class list" not in str(error):
            raise
        names = ", ".join(metadata.classes.names[:3])
        raise UserError(f"{error}; the list is the model's: {names}{', …' * (len(metadata.classes) > 3)}") from None


def predict_split(
    predictor: Predictor, table: ImageTable, split: str, *, batch_size: int = 32, crops: Literal[1, 10] = 1
) -> Iterator[Predictions]:
    """Yield the predictions of a split's images by the batch, in the table's order.

    With `crops=10` the probabilities are the means over the patch's corners and centre and their mirror images, as in
    section 4.1 of the paper. Raises UserError if the network sees the whole patch, so that there is nothing to crop.
    """
    preprocess = predictor.metadata.preprocess
    if crops == 10 and preprocess.patch_size == preprocess.image_size:
        raise UserError(
            f"crops 10: the model sees whole patches of {preprocess.image_size}×{preprocess.image_size}: "
            "use 1, or train with a larger data.resize"
        )
    loader = Loader(LabelledImages(table, split, preprocess), preprocess, batch_size=batch_size, crops=crops)
    done = 0
    for image, label in progress(loader, what=f"evaluating {split}", total=len(loader)):
        truth = label.numpy()
        logarithms = predictor.log_probabilities(image.numpy())
        if crops > 1:
            logarithms = np.log(np.exp(logarithms).reshape(len(truth), crops, -1).mean(axis=1))
        yield Predictions(np.arange(done, done + len(truth)), truth, logarithms)
        done += len(truth)


def figures(predictions: Iterable[Predictions], *, top_k: Optional[int] = None) -> Evaluation:
    """The means over every image that was predicted."""
    losses, ranks = [], []
    for batch in predictions:
        losses.append(-np.take_along_axis(batch.log_probabilities, batch.truth[:, None], axis=1))
        ranks.append(rank_of_truth(batch))
    loss, rank = np.concatenate(losses), np.concatenate(ranks)
    within = None if top_k is None else float((rank < top_k).mean())
    return Evaluation(float(loss.mean()), float((rank == 0).mean()), len(loss), within)


def rank_of_truth(batch: Predictions) -> np.ndarray:
    """How many classes are more probable than the true one, [N] int64, in the order of `top_classes`."""
    truth = batch.truth[:, None]
    share = np.take_along_axis(batch.log_probabilities, truth, axis=1)
    before = np.arange(batch.log_probabilities.shape[1]) < truth
    return ((batch.log_probabilities > share) | (batch.log_probabilities == share) & before).sum(axis=1)
