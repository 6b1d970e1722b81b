"""NumPy's `.npy` and `.npz` files, whose object arrays are pickles."""

import math
import re
from typing import BinaryIO, Callable

import numpy as np

from paddle_alexnet.weights.archive import Archive
from paddle_alexnet.weights.entries import (
    Entries,
    Entry,
    array_of,
    checked_shape,
    is_floating,
    item_size,
    numeric,
    read_exactly,
    size_left,
)
from paddle_alexnet.weights.unpickle import PickleReader, named

_MAX_HEADER = 10_000  # bytes, NumPy's limit


def read_npy(stream: BinaryIO, unread: set[str]) -> Entries:
    """Yield the array, or the arrays of a pickled object. A damaged file raises ValueError or similar."""

    def from_start() -> BinaryIO:
        stream.seek(0)
        return stream

    return _entries("", from_start, from_start, size_left(stream), unread)


def read_npz(stream: BinaryIO, unread: set[str]) -> Entries:
    """Yield the arrays of a zip file of `.npy` files. A damaged file raises ValueError or similar."""
    archive = Archive(stream)
    for member in archive.names:

        def start(member: str = member) -> BinaryIO:
            return archive.open(member)

        def whole(member: str = member) -> BinaryIO:
            return archive.open_whole(member)

        yield from _entries(member.removesuffix(".npy"), start, whole, archive.size(member), unread)


def _entries(
    name: str, start: Callable[[], BinaryIO], whole: Callable[[], BinaryIO], size: int, unread: set[str]
) -> Entries:
    """Yield the content of an `.npy` of `size` bytes; `start` opens it for its header, `whole` for all of it."""
    kind, column_major, shape, begin = _read_header(start())
    if kind in ("O", "|O"):
        stream = whole()
        read_exactly(stream, begin)
        for path, value in named(PickleReader(stream, size=size - begin, unread=unread).load()):
            if isinstance(value, np.ndarray):
                yield f"{name}/{path}" if name and path else name or path, Entry.of(value)
    elif numeric(kind) is None:
        unread.add(f"{name}: {kind[:20]}")
    else:
        length = math.prod(shape) * item_size(kind)
        if length > size - begin:
            raise ValueError("truncated")

        def read() -> np.ndarray:
            stream = whole()
            read_exactly(stream, begin)
            return array_of(read_exactly(stream, length), kind, shape, column_major=column_major)

        yield name, Entry(shape, is_floating(kind), read)


def _read_header(stream: BinaryIO) -> tuple[str, bool, tuple[int, ...], int]:
    """Return number type, column-major order, shape, and the header's size in bytes."""
    start = read_exactly(stream, 8)
    if not start.startswith(b"\x93NUMPY"):
        raise ValueError("not a NumPy file")
    prefix = 2 if start[6] == 1 else 4
    length = int.from_bytes(read_exactly(stream, prefix), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"header of {length:,} bytes")
    header = read_exactly(stream, length).decode("latin1")
    kind = re.search(r"'descr': *'([^']*)'", header)
    order = re.search(r"'fortran_order': *(True|False)", header)
    shape = re.search(r"'shape': *\(([\d, L]*)\)", header)  # Python 2 wrote 3L
    if not (order and shape):
        raise ValueError("invalid header")
    sides = tuple(int(side[:20]) for side in re.findall(r"\d+", shape[1]))
    return kind[1] if kind else "several fields", order[1] == "True", checked_shape(sides), 8 + prefix + length
