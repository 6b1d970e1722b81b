"""What people do with a trained network: images in, probabilities out."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Union

import numpy as np
import pandas as pd

from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.metrics import log_softmax
from paddle_alexnet.progress import progress
from paddle_alexnet.runs.model_folder import read_model


class Predictor:
    """A trained network by path: a run, a checkpoint or an exported folder. Several threads may use it.

    `metadata` says what it is and what it was trained on; `logits` computes images [N, 3, S, S] to logits [N, C].
    Raises UserError if there is no whole model there.
    """

    def __init__(self, model: Union[str, os.PathLike[str]], *, device: str = "auto") -> None:
        read = read_model(model)
        self.device = use_device(device)
        self.metadata = read.metadata
        self.logits = open_engine(read)

    def predict(
        self, images: Sequence[Union[str, os.PathLike[str]]], *, batch_size: int = 32
    ) -> Iterator[tuple[Path, np.ndarray]]:
        """Yield each image's path with its class probabilities [C], in the order given."""
        preprocess = self.metadata.preprocess
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(images), batch_size):
                batch = [Path(image) for image in images[start : start + batch_size]]
                pixels = np.stack(list(pool.map(preprocess, batch)))
                yield from zip(batch, np.exp(log_softmax(self.logits(preprocess.batch(pixels)))))


def top_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """The indices of the `top` most probable classes of [C], most probable first; all where there are fewer."""
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 class")
    return np.argsort(-probabilities, kind="stable")[:top]


def predict_table(predictor: Predictor, images: Sequence[Path], *, top: int = 5) -> pd.DataFrame:
    """The `top` most probable classes of each image: columns image, rank, label, wnid, probability.

    Raises UserError if `top` is less than 1.
    """
    classes = predictor.metadata.classes
    rows = []
    for path, probabilities in progress(predictor.predict(images), what="predicting", total=len(images)):
        for rank, index in enumerate(top_classes(probabilities, top), start=1):
            rows.append((str(path), rank, classes.names[index], classes.wnids[index] or "", probabilities[index]))
    return pd.DataFrame(rows, columns=["image", "rank", "label", "wnid", "probability"])
