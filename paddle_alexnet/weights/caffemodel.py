"""Caffe's `.caffemodel` files: a protocol buffers message, read for names and blobs only.

https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto and
https://protobuf.dev/programming-guides/encoding
"""

from typing import BinaryIO

import numpy as np

from paddle_alexnet.weights.entries import Entries, Entry, array_of, read_exactly, size_left
from paddle_alexnet.weights.protobuf import Message, varint

# NetParameter's fields of layers, with each layer's fields of name and blobs.
_LAYERS = {2: (4, 6), 100: (1, 7)}  # V1LayerParameter of 2014, LayerParameter
_FLOATS, _DOUBLES, _SHAPE, _SIDES = 5, 8, 7, (1, 2, 3, 4)  # BlobProto; its sides: num, channels, height, width


def read_caffemodel(stream: BinaryIO, _unread: set[str]) -> Entries:
    """Yield the layers' blobs, named by layer and position. A damaged file raises ValueError or similar."""
    message = Message()
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


def _array(message: Message, blob: memoryview) -> np.ndarray:
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


def _shape(message: Message, content: memoryview) -> list[int]:
    shape = []
    for number, value in message.fields(content):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1 and not isinstance(value, int):  # packed
            at = 0
            while at < len(value):
                side, at = varint(value, at)
                shape.append(side)
                if len(shape) > 8:
                    raise ValueError("shape of more than 8 sides")
    return shape
