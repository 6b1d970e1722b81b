"""What every engine is: a function from images to logits that several threads may call."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Callable, Protocol, Union

import numpy as np
import paddle

from paddle_alexnet.errors import UserError
from paddle_alexnet.inference.live import LiveNetwork
from paddle_alexnet.inference.onnx_runtime import OnnxRuntime
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.runs.checkpoint import restore
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import Model

_SMALLEST = np.finfo(np.float32).tiny  # a probability of which the logarithm is a number


class Engine(Protocol):
    """Computes logits [N, C] of images [N, 3, S, S], both float32; several threads may call it."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


def open_engine(model: Model) -> Engine:
    """The engine for a model, on Paddle's present device. Raises UserError if its files are not what it says.

    Where a model gives probabilities, their logarithms are the logits.
    """
    if model.metadata.kind == "checkpoint":
        return LiveNetwork(restore(model))
    usual = next(iter(ways_to_run(model.files, model.metadata, source=model.path).values()))
    exported = usual()
    _try(exported, model)
    if model.metadata.output == "logits":
        return exported
    return lambda image: np.log(np.maximum(exported(image), _SMALLEST))


def ways_to_run(files: Mapping[str, bytes], metadata: Metadata, *, source: Path) -> dict[str, Callable[[], Engine]]:
    """What opens an engine for an exported model, for each way to run it here, by its name; the first is the usual one.

    The engine takes any number of images and gives the model's own output. To open it raises UserError where the files
    are no such model, and where its program asks for other images than the metadata say.
    """

    def paddle_inference(**how: bool) -> Engine:
        return _fitted(PaddleInference(files, source=source, **how), metadata, source)

    device = paddle.device.get_device()
    if metadata.kind == "onnx":
        return {"ONNX Runtime": lambda: _fitted(OnnxRuntime(files, source=source), metadata, source)}
    if device != "cpu":
        return {f"Paddle Inference, {device}": paddle_inference}
    ways: dict[str, Callable[[], Engine]] = {
        "Paddle Inference, oneDNN": paddle_inference,
        "Paddle Inference, without oneDNN": partial(paddle_inference, onednn=False),
    }
    if paddle.base.core.supports_bfloat16():
        ways["Paddle Inference, oneDNN in bfloat16"] = partial(paddle_inference, bfloat16=True)
    return ways


def _fitted(engine: Union[PaddleInference, OnnxRuntime], metadata: Metadata, source: Path) -> Engine:
    """An engine that takes any number of images, where the program takes so many at once and no others."""
    size, batch = metadata.preprocess.image_size, metadata.batch_size
    expected = (batch or -1, 3, size, size)
    if engine.input_shape != expected:  # Paddle may end the process where it finds out
        raise UserError(f"{source}: its program takes images {list(engine.input_shape)}, not {list(expected)}")
    return engine if batch is None else _InBatches(engine, batch)


class _InBatches:
    """An engine that is given its images so many at a time, the last of them filled up with black ones."""

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine, self._size = engine, size

    def __call__(self, image: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(image), self._size):
            part = image[start : start + self._size]
            filled = np.zeros((self._size, *image.shape[1:]), image.dtype)
            filled[: len(part)] = part
            found.append(self._engine(filled)[: len(part)])
        return np.concatenate(found)


def _try(engine: Engine, model: Model) -> None:
    size, classes = model.metadata.preprocess.image_size, model.metadata.model.num_classes
    try:
        found = engine(np.zeros((1, 3, size, size), np.float32)).shape
    except Exception as error:  # Paddle's, of many kinds
        raise UserError(f"{model.path}: its program does not compute an image of {size}×{size} ({error})") from None
    if found != (1, classes):
        raise UserError(f"{model.path}: its program gives {list(found)} for one image and {classes} classes")
