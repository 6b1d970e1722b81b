"""Text files and tables as spreadsheets and Windows write them: in UTF-8 or UTF-16, with commas, semicolons or tabs."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAX_HEADER = 100_000  # characters


def decode(content: bytes) -> str:
    """Return text in UTF-8, or in UTF-16 if it begins with that mark. Raises UnicodeDecodeError."""
    return content.decode(_encoding(content))


@contextmanager
def open_csv(path: Path) -> Iterator[Any]:
    """Open a table as a `csv.reader`; what its header has most of, commas, semicolons or tabs, separates its fields.

    Raises OSError, and UnicodeDecodeError and csv.Error while it is read.
    """
    with path.open("rb") as raw:
        encoding = _encoding(raw.read(2))
    with path.open(encoding=encoding, newline="") as stream:
        header = stream.readline(_MAX_HEADER)
        stream.seek(0)
        yield csv.reader(stream, delimiter=max(",;\t", key=header.count))


def explain_error(error: Exception) -> str:
    """Say why a text file cannot be read, with the remedy for an unknown encoding."""
    return "neither UTF-8 nor UTF-16; save it as CSV UTF-8" if isinstance(error, UnicodeError) else str(error)


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
