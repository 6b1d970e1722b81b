"""A look at an exported program and its weights before Paddle gets them.

What is no program ends the process there (segmentation fault), and weights that end too early are not always noticed:
what is missing is then whatever was in memory.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from paddle.base.proto import framework_pb2

from paddle_alexnet.errors import UserError

# What exported networks are made of: arithmetic. A stranger's program could hold operators that write files.
OPERATORS = frozenset(
    """
    feed fetch conv2d depthwise_conv2d pool2d pool3d lrn relu sigmoid tanh softmax dropout matmul_v2 matmul mul
    elementwise_add elementwise_sub elementwise_mul elementwise_div elementwise_pow elementwise_max elementwise_min
    scale pow square sqrt rsqrt clip cast assign assign_value fill_constant shape slice strided_slice reshape2 concat
    split transpose2 flatten2 flatten_contiguous_range squeeze2 unsqueeze2 pad pad2d pad3d reduce_mean reduce_sum
    batch_norm
    """.split()
)


def check_program(name: str, content: bytes, *, source: Path) -> None:
    """Raise UserError for a `model.pdmodel` or `model.json` that is no program, or not one of a network as we export.

    Paddle 3's JSON is looked at only as far as its outline.
    """
    try:
        faults = _json_faults(content) if name.endswith(".json") else _protobuf_faults(content)
    except Exception as error:  # a damaged file may raise anything
        faults = str(error)
    if faults:
        shown = "".join(c if c.isprintable() else "?" for c in faults[:200])
        raise UserError(f"{source / name}: not an exported network, or a damaged one ({shown}): export the model again")


def check_weights(files: Mapping[str, bytes], program: str, weights: str, *, source: Path) -> None:
    """Raise UserError if the weights are not whole, or not those of the program where its form tells (Paddle 2)."""
    try:
        found = sorted(_shapes(files[weights]))
        expected = sorted(_parameter_shapes(files[program])) if program.endswith(".pdmodel") else found
    except Exception:  # a damaged file may raise anything
        found, expected = [], [(0,)]
    if found != expected:
        raise UserError(f"{source / weights}: not the weights of {program}, or damaged ones: export the model again")


def _shapes(content: bytes) -> Iterator[tuple[int, ...]]:
    """The shapes of tensors that follow each other: version, levels of detail (none), version, description, numbers."""
    at = 0
    while at < len(content):
        _, levels, _, size = struct.unpack_from("<IQIi", content, at)
        tensor = framework_pb2.VarType.TensorDesc.FromString(content[at + 20 : at + 20 + size])
        at += 20 + size + 4 * math.prod(tensor.dims)
        if levels or size <= 0 or at > len(content) or tensor.data_type != framework_pb2.VarType.FP32:
            raise ValueError("not float32 tensors to the end")
        yield tuple(tensor.dims)


def _parameter_shapes(content: bytes) -> Iterator[tuple[int, ...]]:
    for variable in framework_pb2.ProgramDesc.FromString(content).blocks[0].vars:
        if variable.persistable and variable.name not in ("feed", "fetch"):
            yield tuple(variable.type.lod_tensor.tensor.dims)


def _protobuf_faults(content: bytes) -> str:
    program = framework_pb2.ProgramDesc.FromString(content)
    types = [operator.type for block in program.blocks for operator in block.ops]
    if len(program.blocks) != 1 or types.count("feed") != 1 or types.count("fetch") != 1:
        return "it has not one input and one output"
    if foreign := sorted(set(types) - OPERATORS):
        return f"it holds the operator {foreign[0]}"
    return ""


def _json_faults(content: bytes) -> str:
    outline = json.loads(content)
    if outline["base_code"]["magic"] != "pir" or not outline["program"]:
        return "it is not a program of Paddle 3"
    return ""
