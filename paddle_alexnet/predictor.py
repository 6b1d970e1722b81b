"""What people do with a trained network: images in, probabilities out."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np

from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.metrics import log_softmax
from paddle_alexnet.runs.model_folder import read_model, say_if_export_differs

_WORKERS = max(2, min(16, os.cpu_count() or 1))  # threads that decode while the network computes


class Answer(NamedTuple):
    """What a network says of one image: its probabilities [C], or why it could not be read."""

    image: Path
    probabilities: Optional[np.ndarray]
    error: str = ""


class Top(NamedTuple):
    """One of the most probable classes of an image; of one that could not be read only the `error`."""

    image: Path
    rank: Optional[int]
    label: str
    wnid: str
    probability: Optional[float]
    error: str = ""


class Predictor:
    """A trained network by path: a run, a checkpoint or an exported folder. Several threads may use it.

    `metadata` says what it is and what it was trained on; `logits` computes images [N, 3, S, S] to logits [N, C].
    Raises UserError if there is no whole model there.
    """

    def __init__(self, model: Union[str, os.PathLike[str]], *, device: str = "auto") -> None:
        read = read_model(model)
        say_if_export_differs(read.path)
        self.device = use_device(device)
        self.metadata = read.metadata
        self.logits = open_engine(read)

    def log_probabilities(self, image: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities [N, C], float64, of images [N, 3, S, S].

        They are the same for the same images in the same order; of a batch of another size they may differ in the last
        digits of float32. Raises UserError where the network's answer is no number.
        """
        logits = self.logits(image)
        if not np.isfinite(logits).all():
            raise UserError("the model's logits are not all finite: its weights are spoilt, take an earlier checkpoint")
        return log_softmax(logits)

    def answers(self, images: Iterable[Union[str, os.PathLike[str]]], *, batch_size: int = 32) -> Iterator[Answer]:
        """Yield the answer for each image, also for one that cannot be read, in the order given.

        Decoded by threads while the network computes, no more than two batches ahead.
        """
        preprocess = self.metadata.preprocess

        def decode(path: Path) -> tuple[Path, Union[np.ndarray, UserError]]:
            try:
                return path, preprocess(path)
            except UserError as error:
                return path, error

        with closing(in_threads(decode, map(Path, images), workers=_WORKERS, ahead=2 * batch_size)) as decoded:
            while batch := list(islice(decoded, batch_size)):
                pixels = [image for _, image in batch if isinstance(image, np.ndarray)]
                found = iter(np.exp(self.log_probabilities(preprocess.batch(np.stack(pixels)))) if pixels else ())
                for path, image in batch:
                    if isinstance(image, UserError):
                        yield Answer(path, None, str(image).removeprefix(f"{path}: "))
                    else:
                        yield Answer(path, next(found))

    def predict(
        self, images: Iterable[Union[str, os.PathLike[str]]], *, batch_size: int = 32
    ) -> Iterator[tuple[Path, np.ndarray]]:
        """Yield each image's path with its class probabilities [C], in the order given.

        Raises UserError for the first image that cannot be read.
        """
        for path, probabilities, error in self.answers(images, batch_size=batch_size):
            if probabilities is None:
                raise UserError(f"{path}: {error}")
            yield path, probabilities

    def top(self, answer: Answer, count: int) -> list[Top]:
        """The `count` most probable classes of an answer, or its error. Raises UserError if `count` is less than 1."""
        image, probabilities, error = answer
        if probabilities is None:
            return [Top(image, None, "", "", None, error)]
        names, wnids = self.metadata.classes.names, self.metadata.classes.wnids
        return [
            Top(image, rank, names[index], wnids[index] or "", float(probabilities[index]))
            for rank, index in enumerate(top_classes(probabilities, count), start=1)
        ]


def top_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """The indices of the `top` most probable classes of [C], most probable first; all where there are fewer."""
    if top < 1:
        raise UserError(f"top is {top}: ask for at least 1 class")
    return np.argsort(-probabilities, kind="stable")[:top]
