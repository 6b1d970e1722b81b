"""Arrays in files of weights, whose shapes are checked against bounds before their numbers are read."""

import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Optional

import numpy as np

MAX_BYTES = 4 << 30  # per file: the largest network with Adam's state and a moving average in float64 has 3 GB
MAX_NUMBERS = 200_000_000  # per file: the largest network with 30,000 classes has 193 million
MAX_ARRAYS = 10_000
MAX_NAME = 300  # characters
_LARGEST_SIDE = 1 << 40  # bounds the product of eight sides

# Number types in NumPy's spelling; NumPy has no bfloat16.
_NUMERIC = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
BFLOAT16 = "bf16"


@dataclass(frozen=True)
class Entry:
    """An array in a file, read on demand."""

    shape: tuple[int, ...]
    floating: bool
    read: Callable[[], np.ndarray]  # returns float32 for bfloat16

    @classmethod
    def of(cls, array: np.ndarray) -> "Entry":
        """Return the entry of an array in memory."""
        return cls(array.shape, array.dtype.kind == "f", lambda: array)

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Unread:
    """An object that is not built, because that would run code that the file names."""

    name: str


Entries = Iterator[tuple[str, Entry]]  # by the names in the file


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read. Raises ValueError unless it is a regular file of at most MAX_BYTES."""

    def at_once(name: str, flags: int) -> int:  # opening a pipe would wait for a writer
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    stream = open(path, "rb", opener=at_once)  # noqa: SIM115
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        stream.close()
        raise ValueError("not a regular file" if found.st_size <= MAX_BYTES else f"{found.st_size:,} bytes")
    return stream


def size_left(stream: BinaryIO) -> int:
    """Return the number of bytes from the stream's position to its end."""
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, which the caller has bounded. Raises ValueError if the stream ends earlier."""
    content = stream.read(size)
    if len(content) != size:
        raise ValueError("truncated")
    return content


def numeric(kind: str) -> Optional[str]:
    """Return a number type in NumPy's spelling (`bf16` for bfloat16), or None unless real and of at most 8 bytes."""
    kind = {"?": "b1", "bool": "b1"}.get(kind, kind)
    return kind if kind == BFLOAT16 or _NUMERIC.fullmatch(kind) else None


def item_size(kind: str) -> int:
    """Return the bytes per number."""
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def is_floating(kind: str) -> bool:
    """Return whether a number type is floating-point."""
    return kind == BFLOAT16 or np.dtype(kind).kind == "f"


def checked_shape(shape: object) -> tuple[int, ...]:
    """Return a file's shape as a tuple. Raises ValueError if it is invalid."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 8:
        raise ValueError("invalid shape")
    if not all(isinstance(side, int) and 0 <= side < _LARGEST_SIDE for side in shape):
        raise ValueError("invalid shape")
    return tuple(shape)


def decode(raw: bytes, kind: str) -> np.ndarray:
    """Decode bytes of a number type to an array [n]; bfloat16 becomes float32."""
    if kind == BFLOAT16:
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, kind) if raw else np.empty(0, kind)


def array_of(raw: bytes, kind: str, shape: object, *, column_major: bool = False) -> np.ndarray:
    """Decode `raw` to an array of `shape`. Raises ValueError if the sizes differ."""
    sides = checked_shape(shape)
    if len(raw) != math.prod(sides) * item_size(kind):
        raise ValueError(f"{len(raw):,} bytes for an array of {'×'.join(map(str, sides))}")
    return decode(raw, kind).reshape(sides, order="F" if column_major else "C")


def printable(text: str, most: int = 300) -> str:
    """Return text from a file without characters that could control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
