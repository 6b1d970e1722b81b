"""Protocol buffers messages: https://protobuf.dev/programming-guides/encoding."""

from collections.abc import Iterator
from typing import Union

_MAX_FIELDS = 100_000


class Message:
    """A reader of fields with one bound for all messages of a file."""

    def __init__(self) -> None:
        self.left = _MAX_FIELDS

    def fields(self, content: memoryview) -> Iterator[tuple[int, Union[int, memoryview]]]:
        """Yield a message's field numbers with an integer or bytes. Raises ValueError if the message is invalid."""
        at = 0
        while at < len(content):
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"more than {_MAX_FIELDS:,} fields")
            tag, at = varint(content, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = varint(content, at)
                yield number, value
                continue
            if kind == 2:
                size, at = varint(content, at)
            else:
                size = {1: 8, 5: 4}.get(kind, -1)
            if not 0 <= size <= len(content) - at:
                raise ValueError("truncated, or not a protocol buffers message")
            yield number, content[at : at + size]
            at += size


def varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return an integer of seven bits per byte, and its end."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
    raise ValueError("truncated, or not a protocol buffers message")
