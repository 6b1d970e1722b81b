"""What every engine is: a function from images to logits that several threads may call."""

from typing import Protocol

import numpy as np

from paddle_alexnet.inference.live import LiveNetwork
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.runs.checkpoint import restore
from paddle_alexnet.runs.model_folder import Model


class Engine(Protocol):
    """Computes logits [N, C] of images [N, 3, S, S], both float32; several threads may call it."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


def open_engine(model: Model) -> Engine:
    """The engine for a model, on Paddle's present device. Raises UserError if its files are not what it says."""
    if model.metadata.kind == "inference":
        return PaddleInference(model.files, source=model.path)
    return LiveNetwork(restore(model))
