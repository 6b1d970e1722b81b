"""Messages of protocol buffers: https://protobuf.dev/programming-guides/encoding."""

from collections.abc import Iterator
from typing import Union

_MAX_FIELDS = 100_000


class Message:
    """Reads fields; all messages of a file share one count of them."""

    def __init__(self) -> None:
        self.left = _MAX_FIELDS

    def fields(self, content: memoryview) -> Iterator[tuple[int, Union[int, memoryview]]]:
        """The fields of a message: their numbers, and an integer or what a length was given for.

        Raises ValueError if it is none.
        """
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
                raise ValueError("not a message of protocol buffers, or it ends too early")
            yield number, content[at : at + size]
            at += size


def varint(content: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
    raise ValueError("not a message of protocol buffers, or it ends too early")
