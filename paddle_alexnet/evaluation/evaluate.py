"""Evaluation of a model on a split, counting every image once."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Optional, Union

from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.evaluation.classification import SplitPredictions, join_batches, rank_classes
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.runs.resolve import ResolvedModel
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress
from paddle_alexnet.system.user_path import user_path


@dataclass(frozen=True)
class Evaluation:
    """Means over the images of a split.

    Among classes that are equally probable, the first one counts as the more probable.
    """

    loss: float  # cross-entropy
    top1: float
    images: int
    top_k: Optional[float] = None  # the share whose class is among the k most probable ones, if k was given
    predictions: Optional[SplitPredictions] = field(default=None, repr=False, compare=False)  # for each image
    table: Optional[ImageTable] = field(default=None, repr=False, compare=False)  # the data set


def evaluate(
    model: Union[str, os.PathLike[str], ResolvedModel, Predictor],
    *,
    split: str = "val",
    root: Optional[Union[str, os.PathLike[str]]] = None,
    csv: Optional[Union[str, os.PathLike[str]]] = None,
    batch_size: int = 32,
    crops: Literal[1, 10] = 1,
    top_k: Optional[int] = None,
) -> Evaluation:
    """Return the mean loss and accuracies of a model on a split.

    Args:
        model: A run, a checkpoint, an exported folder, or a `Predictor` of one.
        split: `train`, `val` or `test`.
        root: Folder of images; default: that of the model's training.
        csv: Table of labels; default: `labels.csv` in `root`.
        crops: 1, or 10 for the mean over center, corners and their mirror images (section 4.1 of the paper).
        top_k: K of an additional top-K accuracy, and of the classes kept for each image (default 5).

    Raises:
        UserError: The data set is not found, has a label that the model lacks, `top_k` exceeds the number of classes,
            or the preprocessing leaves no room for 10 crops.
    """
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    predictor.metadata.check_top_k(top_k)
    root, csv = (None if path is None else user_path(path) for path in (root, csv))
    table = open_table(predictor, root, csv)
    predictions = predict_split(predictor, table, split, batch_size=batch_size, crops=crops, top=top_k or 5)
    return mean_figures(predictions, top_k=top_k, table=table)


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
    predictor: Predictor,
    table: ImageTable,
    split: str,
    *,
    batch_size: int = 32,
    crops: Literal[1, 10] = 1,
    top: int = 5,
) -> SplitPredictions:
    """Predict the images of a split, in the table's order.

    Args:
        crops: 10 averages the probabilities over ten crops, see `Predictor.predict`.
        top: The number of most probable classes to keep.

    Raises:
        UserError: The split is empty, an image is unreadable, or `crops` does not fit the model.
    """
    predictor.metadata.check_crops(crops)
    preprocess = predictor.metadata.preprocess
    loader = Loader(PatchDataset(table, split, preprocess), preprocess, batch_size=batch_size, crops=crops)
    return join_batches(
        rank_classes(label.numpy(), predictor.log_probabilities(image.numpy(), crops=crops), top=top)
        for image, label in progress(loader, what=f"evaluating {split}", total=len(loader))
    )


def mean_figures(
    predictions: SplitPredictions, *, top_k: Optional[int] = None, table: Optional[ImageTable] = None
) -> Evaluation:
    """Return the means over every image of a split."""
    within = None if top_k is None else predictions.top(top_k)
    return Evaluation(
        float(predictions.loss.mean()), predictions.top(1), len(predictions.truth), within, predictions, table
    )
