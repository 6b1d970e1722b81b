"""What people do with a trained network: images in, probabilities out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import numpy as np
import paddle
import pandas as pd

from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.inference.paddle_inference import InferenceModel
from paddle_alexnet.progress import progress
from paddle_alexnet.runs.checkpoint import restore
from paddle_alexnet.runs.model_folder import read_model


class Predictor:
    """A trained network by path: a run, a checkpoint or an exported folder.

    `metadata` says what it is and what it was trained on. Raises UserError if there is no whole
    model there.
    """

    def __init__(self, model: Path, *, device: str = "auto") -> None:
        self.device = use_device(device)
        read = read_model(model)
        self.metadata = read.metadata
        self.logits: Callable[[np.ndarray], np.ndarray]  # image [N, 3, S, S] to logits [N, C]
        if self.metadata.kind == "inference":
            self.logits = InferenceModel(read.path)
        else:
            network = restore(read)

            def logits(image: np.ndarray) -> np.ndarray:
                with paddle.no_grad():
                    return network(paddle.to_tensor(image)).numpy()

            self.logits = logits

    def predict(self, paths: Sequence[Path], *, batch_size: int = 32) -> Iterator[tuple[Path, np.ndarray]]:
        """Yield each image's path with its class probabilities [C], in the order given."""
        preprocess = self.metadata.preprocess
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), batch_size):
                batch = paths[start : start + batch_size]
                images = np.stack(list(pool.map(preprocess, batch)))
                yield from zip(batch, softmax(self.logits(preprocess.batch(images))))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] of logits [N, C], in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predict_table(predictor: Predictor, images: Sequence[Path], *, top: int = 5) -> pd.DataFrame:
    """The `top` most probable classes of each image: columns image, rank, label, wnid, probability.

    `top` beyond the number of classes gives them all. Raises UserError if it is less than 1.
    """
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 class")
    classes = predictor.metadata.classes
    rows = []
    for path, probabilities in progress(predictor.predict(images), what="predicting", total=len(images)):
        for rank, index in enumerate(np.argsort(-probabilities, kind="stable")[:top], start=1):
            rows.append((str(path), rank, classes.names[index], classes.wnids[index] or "", probabilities[index]))
    return pd.DataFrame(rows, columns=["image", "rank", "label", "wnid", "probability"])
