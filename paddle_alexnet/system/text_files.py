"""Text files and CSV tables in UTF-8 or UTF-16, with commas, semicolons or tabs, as spreadsheets write them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAX_HEADER = 100_000  # characters


def decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 if there is a byte order mark. Raises UnicodeDecodeError."""
    return content.decode(_encoding(content))


@contextmanager
def open_csv(path: Path) -> Iterator[Any]:
    """Yield a `csv.reader`; the delimiter is the most frequent of comma, semicolon and tab in the header.

    Raises:
        OSError: The file is unreadable; iteration raises UnicodeDecodeError and csv.Error.
    """
    with path.open("rb") as raw:
        encoding = _encoding(raw.read(2))
    with path.open(encoding=encoding, newline="") as stream:
        header = stream.readline(_MAX_HEADER)
        stream.seek(0)
        yield csv.reader(stream, delimiter=max(",;\t", key=header.count))


def explain_error(error: Exception) -> str:
    """Return why a text file is unreadable, with the remedy for an unknown encoding."""
    return "neither UTF-8 nor UTF-16; save it as CSV UTF-8" if isinstance(error, UnicodeError) else str(error)


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
