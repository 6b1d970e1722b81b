"""ONNX Runtime inference on the CPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paddle_alexnet.inference.program_check import check_finite
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import computing_threads
from paddle_alexnet.weights.protobuf import Message

MODEL = "model.onnx"
# Fields of ModelProto, GraphProto and TensorProto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _INITIALIZER, _KIND, _NAME, _RAW, _FLOAT = 7, 5, 2, 8, 9, 1


class OnnxRuntime:
    """An ONNX model in ONNX Runtime: images float32 [N, 3, S, S] to its output [N, C]; arguments as PaddleInference.

    Raises:
        UserError: The file is missing or damaged, or ONNX Runtime is not installed.
    """

    def __init__(self, files: Mapping[str, bytes], *, source: Path) -> None:
        if MODEL not in files:
            raise UserError(f"{source}: {MODEL} not found; export the model again")
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f'{source}: requires ONNX Runtime ({error}); run pip install "paddle-alexnet[onnx]"'
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = computing_threads()
        # Spinning threads take cores from the decoding threads: a third fewer images per second.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors are also raised
        try:
            self._session = onnxruntime.InferenceSession(files[MODEL], options, providers=["CPUExecutionProvider"])
            [image], [output] = self._session.get_inputs(), self._session.get_outputs()
            parameters = list(_parameters(files[MODEL]))
        except Exception as error:  # many kinds, and ValueError for more than one input or output
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{source / MODEL}: is damaged or not an exported network ({reason}); export the model again"
            ) from None
        check_finite(parameters, source=source / MODEL)
        self._input, self._output = image.name, output.name
        self.input_shape = tuple(side if isinstance(side, int) else -1 for side in image.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        logits: np.ndarray
        [logits] = self._session.run([self._output], {self._input: image})
        return logits


def _parameters(content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the float32 parameters of an exported ONNX file with their names, without the onnx package."""
    message = Message()
    for number, graph in message.fields(memoryview(content)):
        for inner, tensor in message.fields(graph) if number == _GRAPH and not isinstance(graph, int) else ():
            if inner == _INITIALIZER and not isinstance(tensor, int):
                fields: dict[int, Any] = dict(message.fields(tensor))
                if fields.get(_KIND) == _FLOAT and _RAW in fields:
                    yield bytes(fields.get(_NAME, b"")).decode("utf-8", "replace"), np.frombuffer(fields[_RAW], "<f4")
