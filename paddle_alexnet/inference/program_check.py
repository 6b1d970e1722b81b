"""Checks of an exported program and its weights before Paddle loads them.

Paddle crashes on a damaged program (segmentation fault), and may fill truncated weights from uninitialized memory.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paddle.base.proto import framework_pb2

from paddle_alexnet.system.errors import UserError

# The operators of exported networks. A program from elsewhere could hold operators that write files.
OPERATORS = frozenset(
    """
    feed fetch conv2d depthwise_conv2d pool2d pool3d lrn relu sigmoid tanh softmax dropout matmul_v2 matmul mul
    elementwise_add elementwise_sub elementwise_mul elementwise_div elementwise_pow elementwise_max elementwise_min
    scale pow square sqrt rsqrt clip cast assign assign_value fill_constant fill_any_like shape slice strided_slice
    reshape2 concat split transpose2 flatten2 flatten_contiguous_range squeeze2 unsqueeze2 pad pad2d pad3d
    reduce_mean reduce_sum batch_norm
    """.split()
)


def check_program(name: str, content: bytes, *, source: Path) -> tuple[int, ...]:
    """Return a program's input shape, with -1 for any size. Raise UserError if it is not an exported network."""
    try:
        return (_json_input if name.endswith(".json") else _protobuf_input)(content)
    except Exception as error:  # a damaged file may raise anything
        shown = "".join(c if c.isprintable() else "?" for c in str(error)[:200])
    raise UserError(f"{source / name}: is damaged or not an exported network ({shown}); export the model again")


def check_weights(files: Mapping[str, bytes], program: str, weights: str, *, source: Path) -> None:
    """Raise UserError if the weights are truncated, not finite, or do not match the program."""
    try:
        found = list(_tensors(files[weights]))
        parameters_in = _json_parameters if program.endswith(".json") else _protobuf_parameters
        names, expected = zip(*sorted(parameters_in(files[program])))  # in the order in which Paddle writes them
        same = sorted(array.shape for array in found) == sorted(expected)
    except Exception:  # a damaged file may raise anything
        same = False
    if not same:
        raise UserError(f"{source / weights}: is damaged or does not match {program}; export the model again")
    check_finite(zip(names, found), source=source / weights)


def check_finite(parameters: Iterable[tuple[str, np.ndarray]], *, source: Path) -> None:
    """Raise UserError for the first parameter with NaN or infinity.

    The network's output does not show them: Paddle's `relu(NaN)` is 0, and its pooling drops NaN.
    """
    for name, array in parameters:
        if not np.isfinite(array).all():
            shown = "".join(c if c.isprintable() else "?" for c in name[:80])
            raise UserError(f"{source}: parameter {shown} holds NaN or infinity; export an earlier checkpoint")


def _tensors(content: bytes) -> Iterator[np.ndarray]:
    """Yield consecutive tensors: version, levels of detail (none), version, description, numbers."""
    at = 0
    while at < len(content):
        _, levels, _, size = struct.unpack_from("<IQIi", content, at)
        tensor = framework_pb2.VarType.TensorDesc.FromString(content[at + 20 : at + 20 + size])
        begin, count = at + 20 + size, math.prod(tensor.dims)
        at = begin + 4 * count
        if levels or size <= 0 or at > len(content) or tensor.data_type != framework_pb2.VarType.FP32:
            raise ValueError("truncated, or not float32 tensors")
        yield np.frombuffer(content, "<f4", count, begin).reshape(tensor.dims)


def _protobuf_parameters(content: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    for variable in framework_pb2.ProgramDesc.FromString(content).blocks[0].vars:
        if variable.persistable and variable.name not in ("feed", "fetch"):
            yield variable.name, _dims(variable)


def _protobuf_input(content: bytes) -> tuple[int, ...]:
    program = framework_pb2.ProgramDesc.FromString(content)
    operators = [operator for block in program.blocks for operator in block.ops]
    types = [operator.type for operator in operators]
    if len(program.blocks) != 1 or types.count("feed") != 1 or types.count("fetch") != 1:
        raise ValueError("it must have one input and one output")
    if foreign := sorted(set(types) - OPERATORS):
        raise ValueError(f"it holds the operator {foreign[0]}")
    [name] = operators[types.index("feed")].outputs[0].arguments
    [image] = [variable for variable in program.blocks[0].vars if variable.name == name]
    return _dims(image)


def _dims(variable: Any) -> tuple[int, ...]:
    kind = variable.type
    # Paddle 3 calls the same field dense_tensor
    return tuple((kind.lod_tensor if hasattr(kind, "lod_tensor") else kind.dense_tensor).tensor.dims)


def _json_operators(content: bytes) -> list[dict[str, Any]]:
    """Return the operators of a Paddle 3 program.

    `#` is the type, a parameter's `A` ends in its name, `O` is the result, `TT.D` its dtype and shape.
    """
    outline = json.loads(content)
    if outline["base_code"]["magic"] != "pir":
        raise ValueError("it is not a program of Paddle 3")
    [region] = outline["program"]["regions"]
    [block] = region["blocks"]
    operators: list[dict[str, Any]] = block["ops"]
    return operators


def _json_parameters(content: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    for operator in _json_operators(content):
        if operator["#"] == "p":
            yield str(operator["A"][-1]), tuple(operator["O"]["TT"]["D"][1])


def _json_input(content: bytes) -> tuple[int, ...]:
    operators = _json_operators(content)
    inputs = [operator for operator in operators if operator["#"] == "1.data"]
    outputs = [operator for operator in operators if operator["#"] == "1.fetch"]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError("it must have one input and one output")
    return tuple(inputs[0]["O"][0]["TT"]["D"][1])
