"""Zip files of strangers: a member's size is known, and within bounds, before it is unpacked."""

import os
import struct
import zipfile
from typing import BinaryIO

from paddle_alexnet.weights.entries import MAX_NUMBERS, read_exactly

_MAX_DIRECTORY = 16 << 20  # bytes of a zip file's list of members


class Archive:
    """A zip file of stored and deflated members. Raises ValueError and the like for what is damaged or too large."""

    def __init__(self, stream: BinaryIO) -> None:
        _check_directory(stream)
        self._zip = zipfile.ZipFile(stream)
        self._left = 8 * MAX_NUMBERS
        self.names = self._zip.namelist()

    def size(self, name: str) -> int:
        """The bytes of a member, which is unpacked to no more than these."""
        info = self._zip.getinfo(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name}: packed in an unusual way")
        return info.file_size

    def open(self, name: str) -> BinaryIO:
        """A member, to read from its start."""
        self.size(name)
        return self._zip.open(name)  # type: ignore[return-value]

    def open_whole(self, name: str) -> BinaryIO:
        """A member that will be read to its end: its size counts."""
        self._left -= self.size(name)
        if self._left < 0:
            raise ValueError(f"{name}: it unpacks to more than {8 * MAX_NUMBERS:,} bytes")
        return self.open(name)

    def read(self, name: str) -> bytes:
        """The content of a member."""
        with self.open_whole(name) as stream:
            return read_exactly(stream, self.size(name))


def is_zip(stream: BinaryIO) -> bool:
    """Whether a zip file starts here."""
    start = stream.read(4)
    stream.seek(-len(start), os.SEEK_CUR)
    return start == b"PK\x03\x04"


def _check_directory(stream: BinaryIO) -> None:
    """Python reads the list of members whole: see first how long it is."""
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise ValueError("a zip file without its end")
    length = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 :].startswith(b"PK\x06\x07"):
        record = struct.unpack_from("<Q", tail, end - 12)[0]
        if start <= record <= size - 56 and tail[record - start :].startswith(b"PK\x06\x06"):
            length = struct.unpack_from("<Q", tail, record - start + 40)[0]
        else:
            raise ValueError("a zip file with a damaged end")
    if length > _MAX_DIRECTORY:
        raise ValueError(f"a zip file with a list of {length:,} bytes")
