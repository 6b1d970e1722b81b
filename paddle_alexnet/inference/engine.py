"""What every engine is: a function from images to logits that several threads may call."""

from typing import Protocol

import numpy as np

from paddle_alexnet.errors import UserError
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
        engine = PaddleInference(model.files, source=model.path)
        _try(engine, model)
        return engine
    return LiveNetwork(restore(model))


def _try(engine: Engine, model: Model) -> None:
    size, classes = model.metadata.preprocess.image_size, model.metadata.model.num_classes
    try:
        found = engine(np.zeros((1, 3, size, size), np.float32)).shape
    except Exception as error:  # Paddle's, of many kinds
        raise UserError(f"{model.path}: its program does not compute an image of {size}×{size} ({error})") from None
    if found != (1, classes):
        raise UserError(f"{model.path}: its program gives {list(found)} for one image and {classes} classes")
