"""Zip files from untrusted sources, whose members are checked for size before they are unpacked."""

import os
import struct
import zipfile
from typing import BinaryIO

from paddle_alexnet.weights.entries import MAX_NUMBERS, read_exactly

_MAX_DIRECTORY = 16 << 20  # bytes of a zip file's list of members


class Archive:
    """A zip file of stored and deflated members. Damaged or too large ones raise ValueError or similar."""

    def __init__(self, stream: BinaryIO) -> None:
        _check_directory(stream)
        self._zip = zipfile.ZipFile(stream)
        self._left = 8 * MAX_NUMBERS
        self.names = self._zip.namelist()

    def size(self, name: str) -> int:
        """Return a member's unpacked size in bytes, which bounds the unpacking."""
        info = self._zip.getinfo(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name}: unsupported compression")
        return info.file_size

    def open(self, name: str) -> BinaryIO:
        """Return a member's stream."""
        self.size(name)
        return self._zip.open(name)  # type: ignore[return-value]

    def open_whole(self, name: str) -> BinaryIO:
        """Return a member's stream to read to its end, and count its size."""
        self._left -= self.size(name)
        if self._left < 0:
            raise ValueError(f"{name}: unpacks to more than {8 * MAX_NUMBERS:,} bytes")
        return self.open(name)

    def read(self, name: str) -> bytes:
        """Return a member's content."""
        with self.open_whole(name) as stream:
            return read_exactly(stream, self.size(name))


def is_zip(stream: BinaryIO) -> bool:
    """Return whether a zip file starts at the stream's position."""
    start = stream.read(4)
    stream.seek(-len(start), os.SEEK_CUR)
    return start == b"PK\x03\x04"


def _check_directory(stream: BinaryIO) -> None:
    """Check the length of the list of members, which Python reads whole."""
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise ValueError("zip file without its end")
    length = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 :].startswith(b"PK\x06\x07"):
        record = struct.unpack_from("<Q", tail, end - 12)[0]
        if start <= record <= size - 56 and tail[record - start :].startswith(b"PK\x06\x06"):
            length = struct.unpack_from("<Q", tail, record - start + 40)[0]
        else:
            raise ValueError("zip file with a damaged end")
    if length > _MAX_DIRECTORY:
        raise ValueError(f"zip file with a member list of {length:,} bytes")
