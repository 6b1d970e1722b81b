"""Files of `torch.save`, read without PyTorch, and written here by hand."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from helpers import torch_pickle, write_torch

from paddle_alexnet.weights.torch_file import Storage, Tensor, read_torch

ARRAYS = {
    "conv.weight": np.random.default_rng(0).standard_normal((4, 3, 2, 2), np.float32),
    "conv.bias": np.arange(4, dtype=np.float32),
    "fc.weight": np.random.default_rng(1).standard_normal((5, 4), np.float32).T,  # not contiguous
}


def write_legacy_torch(path, content, arrays):
    with path.open("wb") as stream:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, stream, protocol=2)
        stream.write(content)
        pickle.dump([str(key) for key in range(len(arrays))], stream, protocol=2)
        for array in arrays.values():
            stream.write(struct.pack("<q", array.size) + array.tobytes("A"))


def read(path):
    unread = set()
    with path.open("rb") as stream:
        return {name: entry.read() for name, entry in read_torch(stream, unread)}, unread


@pytest.mark.parametrize("write, legacy", [(write_torch, False), (write_legacy_torch, True)])
def test_tensors_by_name(write, legacy, tmp_path):
    write(tmp_path / "a.pth", torch_pickle(ARRAYS, legacy=legacy), ARRAYS)
    found, unread = read(tmp_path / "a.pth")
    assert list(found) == list(ARRAYS)
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    assert not unread


def test_views_of_one_storage_before_1_6(tmp_path):
    content = torch_pickle({"a": np.zeros(3, np.float32)}, legacy=True)
    view = b"(X\x01\x00\x00\x00vK\x04K\x03t"  # numbers 4 to 6 of a storage of 10
    content = content.replace(b"J\x03\x00\x00\x00NtQ", b"K\x0a" + view + b"tQ")
    write_legacy_torch(tmp_path / "a.pth", content, {"a": np.arange(10, dtype=np.float32)})
    assert np.array_equal(read(tmp_path / "a.pth")[0]["a"], [4, 5, 6])
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes().replace(b"vK\x04K\x03", b"vK\x08K\x03"))
    with pytest.raises(ValueError, match="view beyond"):
        read(tmp_path / "a.pth")


def test_parameters_of_the_first_pytorch(tmp_path):
    """Before 0.4 a state dict could hold parameters, which pickle themselves with a state of flags."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    tensor = torch_pickle(arrays, legacy=True).partition(b"(X\x01\x00\x00\x00a")[2][: -len(b"u.")]
    flags = b"(\x88\x89ccollections\nOrderedDict\n)Rt"
    parameter = b"ctorch.nn.parameter\nParameter\n(" + tensor + b"tR" + flags + b"b"
    write_legacy_torch(tmp_path / "old.pth", b"\x80\x02}(X\x01\x00\x00\x00a" + parameter + b"u.", arrays)
    assert np.array_equal(read(tmp_path / "old.pth")[0]["a"], arrays["a"])


@pytest.mark.parametrize(
    "size, stride, offset",
    [
        ([4], [1], 6),
        ([2, 4], [8, 1], 0),
        ([2], [-8], 0),
        ([1 << 40], [1], 0),
        ([2], [1], -1),
        ([9], [0], 0),  # shows one number nine times
        ([2, 2], [1], 0),
        ([2], [1], 0.5),
        ([True], ["1"], 0),
    ],
)
def test_tensors_that_are_not_within_their_storage_are_refused(size, stride, offset):
    storage = Storage("0", "<f4", 8)
    with pytest.raises(ValueError):
        Tensor(storage, offset, size, stride).entry(lambda key: bytes(32))


def test_a_tensor_is_cut_from_its_storage_by_offset_and_strides():
    raw = np.arange(8, dtype="<f4").tobytes()
    entry = Tensor(Storage("0", "<f4", 8), 2, (2, 3), (1, 2)).entry(lambda key: raw)
    assert np.array_equal(entry.read(), [[2, 4, 6], [3, 5, 7]])
    with pytest.raises(ValueError, match="4 numbers in a storage of 8"):
        Tensor(Storage("0", "<f4", 8), 0, (8,), (1,)).entry(lambda key: raw[:16]).read()


def test_objects_are_left_unread_and_named():
    content = torch_pickle({"a": np.ones(1, np.float32)})[:-2]
    content += b"X\x04\x00\x00\x00argscargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x01sbu."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", np.float32(3).tobytes())
    stream.seek(0)
    unread = set()
    assert {name: entry.read().tolist() for name, entry in read_torch(stream, unread)} == {"a": [3.0]}
    assert unread == {"argparse.Namespace"}
