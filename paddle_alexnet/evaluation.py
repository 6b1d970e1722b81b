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
from paddle_alexnet.metrics import log_softmax
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
    """Means over the images of a split."""

    loss: float
    top1: float
    images: int


def evaluate(
    predictor: Predictor,
    *,
    split: str = "val",
    root: Optional[Path] = None,
    csv: Optional[Path] = None,
    batch_size: int = 32,
    crops: Literal[1, 10] = 1,
) -> Evaluation:
    """Evaluate on a split of the data set that the network was trained on, or of another one.

    Raises UserError if the data set is not there or if its classes are not the network's, and see `predict_split`.
    """
    table = open_table(predictor, root, csv)
    return figures(predict_split(predictor, table, split, batch_size=batch_size, crops=crops))


def open_table(predictor: Predictor, root: Optional[Path], csv: Optional[Path]) -> ImageTable:
    """The table of a data set with the network's classes: by default that of the one which it was trained on."""
    metadata = predictor.metadata
    known = metadata.origin.data_root
    if root is None and not known:
        raise UserError("this model's data set is not known: name its folder as root")
    root = Path(known) if root is None else root
    if csv is None and str(root) == known:
        csv = Path(metadata.origin.data_csv)
    table = read_table(root, csv)
    if table.classes != metadata.classes:
        raise UserError(
            f"{table.csv}: its classes ({', '.join(table.classes.names[:3])}, …) are not the model's "
            f"({', '.join(metadata.classes.names[:3])}, …): use the data set that it was trained for"
        )
    return table


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
        logarithms = log_softmax(predictor.logits(image.numpy()))
        if crops > 1:
            logarithms = np.log(np.exp(logarithms).reshape(len(truth), crops, -1).mean(axis=1))
        yield Predictions(np.arange(done, done + len(truth)), truth, logarithms)
        done += len(truth)


def figures(predictions: Iterable[Predictions]) -> Evaluation:
    """The means over every image that was predicted."""
    losses, hits = [], []
    for batch in predictions:
        losses.append(-batch.log_probabilities[np.arange(len(batch.truth)), batch.truth])
        hits.append(batch.log_probabilities.argmax(axis=1) == batch.truth)
    loss, top1 = np.concatenate(losses), np.concatenate(hits)
    return Evaluation(float(loss.mean()), float(top1.mean()), len(loss))
