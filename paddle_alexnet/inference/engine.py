"""Inference engines: thread-safe functions from images to logits."""

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Union

import numpy as np
import paddle
from paddle import nn

from paddle_alexnet.inference.onnx_runtime import OnnxRuntime
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.runs.checkpoint import restore
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import Model
from paddle_alexnet.system.errors import UserError


class LiveNetwork:
    """A thread-safe network in evaluation mode: images float32 [N, 3, S, S] to logits [N, C]."""

    def __init__(self, network: nn.Layer) -> None:
        self._network = network
        self._lock = threading.Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with self._lock, paddle.no_grad():
            return self._network(paddle.to_tensor(image)).numpy()


_SMALLEST = np.finfo(np.float32).tiny  # the smallest probability with a finite logarithm


class Engine(Protocol):
    """A thread-safe function from images [N, 3, S, S] to logits [N, C], both float32."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


def open_engine(
    model: Model, *, precision: str = "float32", calibration: Optional[Callable[[], np.ndarray]] = None
) -> Engine:
    """Return the engine for a model on Paddle's current device; see `PaddleInference` for the arguments.

    Probabilities of a model become logits by their logarithm.

    Raises:
        UserError: The files do not match the metadata, or the precision is not available.
    """
    kind = model.metadata.kind
    if precision != "float32" and kind != "inference":
        raise UserError(f"{model.path}: precision {precision} requires a Paddle Inference export; name its inference/")
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
    """Return a function that opens each available engine for an exported model, by the engine's name; default first.

    An engine takes any number of images and returns the model's own output. Opening it raises UserError if the files
    are not such a model, or its input does not match the metadata.
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
    """Return log-probabilities, float64 [N, C], of logits [N, C]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _fitted(engine: Union[PaddleInference, OnnxRuntime], metadata: Metadata, source: Path) -> Engine:
    """Return an engine for any number of images, even if the program has a fixed batch size."""
    size, batch = metadata.preprocess.image_size, metadata.batch_size
    expected = (batch or -1, 3, size, size)
    if engine.input_shape != expected:  # Paddle may crash on such an input
        shapes = f"{list(engine.input_shape)} does not match {list(expected)} of its metadata"
        raise UserError(f"{source}: input shape {shapes}; export the model again")
    return engine if batch is None else _InBatches(engine, batch)


class _InBatches:
    """An engine that feeds batches of a fixed size, the last one padded with zeros."""

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
    """Raise UserError unless two images give two rows: some exported programs compute only one image of a batch."""
    size, classes = model.metadata.preprocess.image_size, model.metadata.model.num_classes
    try:
        found = engine(np.zeros((2, 3, size, size), np.float32)).shape
    except Exception as error:  # Paddle raises many kinds
        reason = " ".join(str(error).split())[:200]
        if precision != "float32":
            raise UserError(
                f"{model.path}: Paddle cannot run this network in {precision} ({reason}); use float32"
            ) from None
        raise UserError(
            f"{model.path}: cannot compute images of {size}×{size} ({reason}); export the model again"
        ) from None
    if found != (2, classes):
        shapes = f"{list(found)} does not match [2, {classes}], 2 images of {classes} classes"
        raise UserError(f"{model.path}: output shape {shapes}; export the model again")
