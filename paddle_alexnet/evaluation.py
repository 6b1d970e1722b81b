"""How good a trained network is on a split: exact means, every image once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np

from paddle_alexnet.data.dataset import LabelledImages
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.table import read_table
from paddle_alexnet.errors import UserError
from paddle_alexnet.predictor import Predictor
from paddle_alexnet.progress import progress


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

    With `crops=10` the probabilities are the means over the patch's corners and centre and their mirror images, as in
    section 4.1 of the paper. Raises UserError if the data set is not there, if its classes are not the network's, or
    if the network sees the whole patch, so that there is nothing to crop.
    """
    metadata = predictor.metadata
    if root is None and not metadata.origin.data_root:
        raise UserError("this model's data set is not known: name one with --root")
    root = Path(metadata.origin.data_root) if root is None else root
    if csv is None and str(root) == metadata.origin.data_root:
        csv = Path(metadata.origin.data_csv)
    table = read_table(root, csv)
    if table.classes != metadata.classes:
        raise UserError(
            f"{table.csv}: its classes ({', '.join(table.classes.names[:3])}, …) are not the model's "
            f"({', '.join(metadata.classes.names[:3])}, …): use the data set that it was trained for"
        )
    preprocess = metadata.preprocess
    if crops == 10 and preprocess.patch_size == preprocess.image_size:
        raise UserError(
            f"crops 10: the model sees whole patches of {preprocess.image_size}×{preprocess.image_size}: "
            "use 1, or train with a larger data.resize"
        )
    dataset = LabelledImages(table, split, preprocess)
    loader = Loader(dataset, preprocess, batch_size=batch_size, crops=crops)
    losses, hits = [], []
    for image, label in progress(loader, what=f"evaluating {split}", total=len(loader)):
        logits = predictor.logits(image.numpy()).astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        if crops > 1:
            logarithms = np.log(np.exp(logarithms).reshape(len(label), crops, -1).mean(axis=1))
        truth = label.numpy()
        losses.append(-logarithms[np.arange(len(truth)), truth])
        hits.append(logarithms.argmax(axis=1) == truth)
    return Evaluation(
        loss=float(np.concatenate(losses).mean()),
        top1=float(np.concatenate(hits).mean()),
        images=len(dataset),
    )
