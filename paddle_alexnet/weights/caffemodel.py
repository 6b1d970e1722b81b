"""Caffe's own files, `.caffemodel`: a message of protocol buffers, of which only names and blobs are read.

https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto and
https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import BinaryIO, Union

import numpy as np

from paddle_alexnet.weights.entries import Entries, Entry, array_of, read_exactly, size_left

_MAX_FIELDS = 100_000
# NetParameter: the field of its layers, and in each the fields of its name and its blobs.
_LAYERS = {2: (4, 6), 100: (1, 7)}  # V1LayerParameter of 2014, LayerParameter
_FLOATS, _DOUBLES, _SHAPE, _SIDES = 5, 8, 7, (1, 2, 3, 4)  # BlobProto; its sides: num, channels, height, width


class _Message:
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
            tag, at = _varint(content, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = _varint(content, at)
                yield number, value
                continue
            if kind == 2:
                size, at = _varint(content, at)
            else:
                size = {1: 8, 5: 4}.get(kind, -1)
            if not 0 <= size <= len(content) - at:
                raise ValueError("not a message of protocol buffers, or it ends too early")
            yield number, content[at : at + size]
            at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
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


def read_caffemodel(stream: BinaryIO, _unread: set[str]) -> Entries:
    """The blobs of the layers, named by layer and position. Raises ValueError and the like if it is damaged."""
    message = _Message()
    network = memoryview(read_exactly(stream, size_left(stream)))
    for kind, layer in message.fields(network):
        if kind not in _LAYERS or isinstance(layer, int):
            continue
        name_field, blobs_field = _LAYERS[kind]
        name, blobs = "", []
        for number, value in message.fields(layer):
            if number == name_field and not isinstance(value, int):
                name = bytes(value[:300]).decode("utf-8", "replace")
            elif number == blobs_field and not isinstance(value, int):
                blobs.append(value)
        for index, blob in enumerate(blobs):
            yield f"{name}/{index}", Entry.of(_array(message, blob))


def _array(message: _Message, blob: memoryview) -> np.ndarray:
    numbers: dict[int, list[memoryview]] = {_FLOATS: [], _DOUBLES: []}
    sides, shape = {}, None
    for number, value in message.fields(blob):
        if number in numbers and not isinstance(value, int):
            numbers[number].append(value)
        elif number in _SIDES and isinstance(value, int):
            sides[number] = value
        elif number == _SHAPE and not isinstance(value, int):
            shape = _shape(message, value)
    if shape is None:
        shape = [sides.get(number, 0) for number in _SIDES]
    kind, parts = ("<f8", numbers[_DOUBLES]) if numbers[_DOUBLES] else ("<f4", numbers[_FLOATS])
    return array_of(b"".join(parts), kind, shape)


def _shape(message: _Message, content: memoryview) -> list[int]:
    shape = []
    for number, value in message.fields(content):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1 and not isinstance(value, int):  # packed
            at = 0
            while at < len(value):
                side, at = _varint(value, at)
                shape.append(side)
                if len(shape) > 8:
                    raise ValueError("a shape that is none")
    return shape
