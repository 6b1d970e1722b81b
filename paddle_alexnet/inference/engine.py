"""What every engine is: a function from images to logits that several threads may call."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Union

import numpy as np
import paddle

from paddle_alexnet.inference.live_network import LiveNetwork
from paddle_alexnet.inference.onnx_runtime import OnnxRuntime
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.runs.checkpoint import restore
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import Model
from paddle_alexnet.system.errors import UserError

_SMALLEST = np.finfo(np.float32).tiny  # a probability of which the logarithm is a number


class Engine(Protocol):
    """Computes logits [N, C] of images [N, 3, S, S], both float32; several threads may call it."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


def open_engine(
    model: Model, *, precision: str = "float32", calibration: Optional[Callable[[], np.ndarray]] = None
) -> Engine:
    """The engine for a model, on Paddle's present device, see `PaddleInference` for `precision` and `calibration`.

    Where a model gives probabilities, their logarithms are the logits. Raises UserError if its files are not what it
    says, and for another precision where that is not to be had.
    """
    kind = model.metadata.kind
    if precision != "float32" and kind != "inference":
        raise UserError(f"{model.path}: precision {precision} is for models exported for Paddle: take its inference/")
    if kind == "checkpoint":
        return LiveNetwork(restore(model))
    if precision == "float32":
        usual = next(iter(ways_to_run(model.files, model.metadata, source=model.path).values()))
        exported = usual()
    else:
        program = PaddleInference(
            model.files,
            source=model.path,
            precision=precision,
            calibration=calibration and (lambda: calibration()[: model.metadata.batch_size]),
        )
        exported = _fitted(program, model.metadata, model.path)
    _try(exported, model, precision)
    if model.metadata.output == "logits":
        return exported
    return lambda image: np.log(np.maximum(exported(image), _SMALLEST))


def ways_to_run(files: Mapping[str, bytes], metadata: Metadata, *, source: Path) -> dict[str, Callable[[], Engine]]:
    """What opens an engine for an exported model, for each way to run it here, by its name; the first is the usual one.

    The engine takes any number of images and gives the model's own output. To open it raises UserError where the files
    are no such model, and where its program asks for other images than the metadata say.
    """

    def paddle_inference(**how: Any) -> Engine:
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
        ways["Paddle Inference, oneDNN in bfloat16"] = partial(paddle_inference, precision="bfloat16")
    return ways


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities [N, C] of logits [N, C], in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


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


def _try(engine: Engine, model: Model, precision: str) -> None:
    """Raise UserError unless two images give two rows of logits: Paddle has networks that it computes one image of."""
    size, classes = model.metadata.preprocess.image_size, model.metadata.model.num_classes
    try:
        found = engine(np.zeros((2, 3, size, size), np.float32)).shape
    except Exception as error:  # Paddle's, of many kinds
        reason = " ".join(str(error).split())[:200]
        if precision != "float32":
            raise UserError(
                f"{model.path}: precision {precision}: Paddle does not compute this network so ({reason}); take float32"
            ) from None
        raise UserError(f"{model.path}: its program does not compute images of {size}×{size} ({reason})") from None
    if found != (2, classes):
        raise UserError(f"{model.path}: its program gives {list(found)} for two images and {classes} classes")
