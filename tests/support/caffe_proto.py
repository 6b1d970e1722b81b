"""Caffe's own files, encoded by protobuf itself from a copy of the part of caffe.proto that they use."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INT32, INT64, FLOAT, DOUBLE, TEXT, MESSAGE, ENUM_AS_INT = 5, 3, 2, 1, 9, 11, 5
# Name, number, type, repeated, packed: from github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
PROTO = {
    "BlobShape": [("dim", 1, INT64, True, True)],
    "BlobProto": [
        *(("num", 1, INT32, False, False), ("channels", 2, INT32, False, False)),
        *(("height", 3, INT32, False, False), ("width", 4, INT32, False, False)),
        *(("data", 5, FLOAT, True, True), ("diff", 6, FLOAT, True, True)),
        ("shape", 7, "BlobShape", False, False),
        *(("double_data", 8, DOUBLE, True, True), ("double_diff", 9, DOUBLE, True, True)),
    ],
    "V1LayerParameter": [
        *(("bottom", 2, TEXT, True, False), ("top", 3, TEXT, True, False), ("name", 4, TEXT, False, False)),
        *(("type", 5, ENUM_AS_INT, False, False), ("blobs", 6, "BlobProto", True, False)),
        ("blobs_lr", 7, FLOAT, True, False),
    ],
    "LayerParameter": [
        *(("name", 1, TEXT, False, False), ("type", 2, TEXT, False, False)),
        *(("bottom", 3, TEXT, True, False), ("top", 4, TEXT, True, False)),
        *(("loss_weight", 5, FLOAT, True, False), ("blobs", 7, "BlobProto", True, False)),
        ("phase", 10, ENUM_AS_INT, False, False),
    ],
    "NetParameter": [
        *(("name", 1, TEXT, False, False), ("layers", 2, "V1LayerParameter", True, False)),
        *(("input", 3, TEXT, True, False), ("input_dim", 4, INT32, True, False)),
        ("layer", 100, "LayerParameter", True, False),
    ],
}


def message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in PROTO.items():
        descriptor = file.message_type.add(name=message)
        for name, number, kind, repeated, packed in fields:
            field = descriptor.field.add(name=name, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                field.type, field.type_name = MESSAGE, f".caffe.{kind}"
            else:
                field.type = kind
            field.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in PROTO}


def caffe_blob(blob: Any, array: np.ndarray, *, modern: bool, double: bool) -> None:
    (blob.double_data if double else blob.data).extend(array.ravel())
    blob.diff.extend([9.0] * 3)
    if modern:
        blob.shape.dim.extend(array.shape)
    else:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape


def encode(arrays: Mapping[str, Sequence[np.ndarray]], *, modern: bool = True, double: bool = False) -> bytes:
    """A NetParameter of {layer: [weight, bias]}, with a layer without blobs before them."""
    network = message_classes()["NetParameter"](name="AlexNet", input=["data"], input_dim=[10, 3, 227, 227])
    layers = network.layer if modern else network.layers
    layers.add(name="data", top=["data", "label"])
    for name, blobs in arrays.items():
        layer = layers.add(name=name, bottom=["x" * 200], top=[name])
        if not modern:
            layer.type = 4
            layer.blobs_lr.extend([1, 2])
        for blob in blobs:
            caffe_blob(layer.blobs.add(), blob, modern=modern, double=double)
    return network.SerializeToString()
