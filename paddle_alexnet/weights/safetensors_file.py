"""Safetensors files (https://github.com/huggingface/safetensors): header length, JSON header, numbers."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from paddle_alexnet.weights.entries import (
    BFLOAT16,
    Entries,
    Entry,
    array_of,
    checked_shape,
    is_floating,
    item_size,
    read_exactly,
    size_left,
)

_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16}
_MAX_HEADER = 1 << 20  # bytes; an AlexNet's has two thousand


def read_safetensors(stream: BinaryIO, _unread: set[str]) -> Entries:
    """Yield the floating-point tensors. A damaged file raises ValueError or similar."""
    length = int.from_bytes(read_exactly(stream, 8), "little")
    if length > min(size_left(stream), _MAX_HEADER):
        raise ValueError(f"header of {length:,} bytes")
    header = json.loads(read_exactly(stream, length))
    start, left = stream.tell(), size_left(stream)
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _KINDS:
            continue
        kind, shape = _KINDS[entry["dtype"]], checked_shape(entry["shape"])
        begin, end = entry["data_offsets"]
        if not (isinstance(begin, int) and 0 <= begin <= end <= left):
            raise ValueError("truncated")
        if end - begin != math.prod(shape) * item_size(kind):
            raise ValueError(f"{end - begin:,} bytes for an array of {'×'.join(map(str, shape))}")

        def read(kind: str = kind, shape: tuple[int, ...] = shape, begin: int = begin, end: int = end) -> np.ndarray:
            stream.seek(start + begin)
            return array_of(read_exactly(stream, end - begin), kind, shape)

        yield name, Entry(shape, is_floating(kind), read)


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as float32."""
    header, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + 4 * array.size
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            stream.write(array.astype("<f4").tobytes())
