"""An array in a file of weights, known by its shape before its numbers are read, and the bounds of what is read."""

import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Optional

import numpy as np

MAX_BYTES = 4 << 30  # of a file: the largest network with an optimizer's state and a moving average in float64 has 3 GB
MAX_NUMBERS = 200_000_000  # that are read from a file: the largest network with 30,000 classes has 193 million
MAX_ARRAYS = 10_000
MAX_NAME = 300  # characters of a name
_LARGEST_SIDE = 1 << 40  # keeps the product of eight sides an ordinary number

# Numbers by the names that NumPy, PyTorch and safetensors give them; NumPy has no bfloat16.
_NUMERIC = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
BFLOAT16 = "bf16"


@dataclass(frozen=True)
class Entry:
    """An array in a file. `read` gives it, float32 where the file has bfloat16."""

    shape: tuple[int, ...]
    floating: bool
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> "Entry":
        """An array that is in memory already."""
        return cls(array.shape, array.dtype.kind == "f", lambda: array)

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Unread:
    """An object that stays unread: to make it would be to run what the file names."""

    name: str


Entries = Iterator[tuple[str, Entry]]  # by the names in the file


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read. Raises ValueError for a pipe, a device, a folder and what is too large."""

    def at_once(name: str, flags: int) -> int:  # a pipe would wait for a writer
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    stream = open(path, "rb", opener=at_once)  # noqa: SIM115
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        stream.close()
        raise ValueError("not a regular file" if found.st_size <= MAX_BYTES else f"it has {found.st_size:,} bytes")
    return stream


def size_left(stream: BinaryIO) -> int:
    """The bytes from where the stream is to its end."""
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """That many bytes, which the caller knows to be there. Raises ValueError where the stream ends before."""
    content = stream.read(size)
    if len(content) != size:
        raise ValueError("it ends too early")
    return content


def numeric(kind: str) -> Optional[str]:
    """The kind in NumPy's spelling, `bf16` for bfloat16; None if it is not one of real numbers of at most 8 bytes."""
    kind = {"?": "b1", "bool": "b1"}.get(kind, kind)
    return kind if kind == BFLOAT16 or _NUMERIC.fullmatch(kind) else None


def item_size(kind: str) -> int:
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def is_floating(kind: str) -> bool:
    return kind == BFLOAT16 or np.dtype(kind).kind == "f"


def checked_shape(shape: object) -> tuple[int, ...]:
    """A shape out of a file. Raises ValueError if it is not one."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 8:
        raise ValueError("a shape that is none")
    if not all(isinstance(side, int) and 0 <= side < _LARGEST_SIDE for side in shape):
        raise ValueError("a shape that is none")
    return tuple(shape)


def decode(raw: bytes, kind: str) -> np.ndarray:
    """Numbers [n] from the bytes of a numeric kind; bfloat16 becomes float32."""
    if kind == BFLOAT16:
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, kind) if raw else np.empty(0, kind)


def array_of(raw: bytes, kind: str, shape: object, *, column_major: bool = False) -> np.ndarray:
    """The array of a shape whose numbers `raw` holds. Raises ValueError if they are more or fewer."""
    sides = checked_shape(shape)
    if len(raw) != math.prod(sides) * item_size(kind):
        raise ValueError(f"{len(raw):,} bytes for an array of {'×'.join(map(str, sides))}")
    return decode(raw, kind).reshape(sides, order="F" if column_major else "C")


def printable(text: str, most: int = 300) -> str:
    """Text out of a file, as it may reach a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
