"""Caffe's own files, encoded here by protobuf itself from a copy of the part of caffe.proto that they use."""

import io

import numpy as np
import pytest
from caffe_proto import encode

from paddle_alexnet.weights.caffemodel import read_caffemodel

ARRAYS = {
    "conv1": [np.random.default_rng(0).standard_normal((4, 3, 2, 2), np.float32), np.arange(4, dtype=np.float32)],
    "fc8": [np.random.default_rng(1).standard_normal((200, 150), np.float32), np.arange(200, dtype=np.float32)],
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("modern", [True, False])
def test_blobs_of_both_forms(modern, double):
    stream = io.BytesIO(encode(ARRAYS, modern=modern, double=double))
    found = {name: entry.read() for name, entry in read_caffemodel(stream, set())}
    assert list(found) == ["conv1/0", "conv1/1", "fc8/0", "fc8/1"]
    for name, blobs in ARRAYS.items():
        for index, blob in enumerate(blobs):
            read = found[f"{name}/{index}"]
            assert np.array_equal(read.reshape(blob.shape), blob)
            assert read.dtype == (np.float64 if double else np.float32)
            assert read.shape == (blob.shape if modern else (1,) * (4 - blob.ndim) + blob.shape)


def test_a_file_cut_anywhere_is_refused_or_lacks_what_was_cut():
    whole = encode({"conv1": ARRAYS["conv1"]})
    for size in range(1, len(whole)):
        try:
            found = dict(read_caffemodel(io.BytesIO(whole[:size]), set()))
        except ValueError:
            continue
        assert len(found) == 0
