"""How good a trained network is on a split: exact means, every image once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from paddle_alexnet.cli import progress
from paddle_alexnet.data.dataset import LabelledImages, read_table
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.errors import UserError
from paddle_alexnet.predictor import Predictor


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
) -> Evaluation:
    """Evaluate on a split of the data set that the network was trained on, or of another one.

    Raises UserError if the data set is not there or if its classes are not the network's.
    """
    metadata = predictor.metadata
    if root is None and not metadata.data_root:
        raise UserError("this model's data set is not known: name one with --root")
    root = Path(metadata.data_root) if root is None else root
    if csv is None and str(root) == metadata.data_root:
        csv = Path(metadata.data_csv)
    table = read_table(root, csv)
    if table.classes != metadata.classes:
        raise UserError(
            f"{table.csv}: its classes ({', '.join(table.classes.names[:3])}, …) are not the model's "
            f"({', '.join(metadata.classes.names[:3])}, …): use the data set that it was trained for"
        )
    dataset = LabelledImages(table, split, metadata.preprocess)
    loader = Loader(dataset, metadata.preprocess, batch_size=batch_size)
    losses, hits = [], []
    for image, label in progress(loader, what=f"evaluating {split}", total=len(loader)):
        rows, truth = np.arange(len(label)), label.numpy()
        logits = predictor.logits(image.numpy())
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, truth])
        hits.append(logits.argmax(axis=1) == truth)
    return Evaluation(
        loss=float(np.concatenate(losses).mean()),
        top1=float(np.concatenate(hits).mean()),
        images=len(dataset),
    )
