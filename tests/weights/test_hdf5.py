"""Keras' files: what other programs pack in them, and what lies in other files."""

import io
import zipfile

import numpy as np
import pytest

from paddle_alexnet.weights.hdf5 import read_hdf5, read_keras

h5py = pytest.importorskip("h5py", reason='h5py is not installed: pip install -e ".[parity]"')

KERNEL = np.random.default_rng(0).standard_normal((5, 4, 3, 7)).astype(np.float32)


def read(content, reader=read_hdf5):
    unread = set()
    with io.BytesIO(content) as stream:
        return {name: entry.read() for name, entry in reader(stream, unread)}, unread


def hdf5(array, **options):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_group("layers/conv").create_dataset("kernel:0", data=array, **options)
        file["layers/names"] = np.array([b"conv"])
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 4, 3, 4)},
        {"chunks": (2, 4, 3, 4), "compression": "gzip"},
        {"chunks": (2, 4, 3, 4), "compression": "gzip", "shuffle": True},
        {"chunks": (2, 4, 3, 4), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (5, 4, 3, 7), "fletcher32": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_hdf5_with_any_storage_layout_is_read(options, dtype):
    for kernel in (KERNEL, KERNEL.round()):  # what does not get smaller is stored as it is
        found, unread = read(hdf5(kernel.astype(dtype), **options))
        assert list(found) == ["layers/conv/kernel:0"]
        assert np.array_equal(found["layers/conv/kernel:0"], kernel.astype(dtype))
        assert not unread


def test_other_compression_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match="without compression"):
        read(hdf5(np.zeros((64, 64), np.float32), compression="lzf"))


def test_the_zip_file_of_keras_3():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", hdf5(KERNEL))
    assert np.array_equal(read(stream.getvalue(), read_keras)[0]["layers/conv/kernel:0"], KERNEL)


def test_hdf5_data_in_another_file_is_not_read(tmp_path):
    from hostile import write_hdf5

    write_hdf5(tmp_path)
    for name in ("external", "virtual", "link"):
        found, unread = read((tmp_path / f"{name}.h5").read_bytes())
        assert found == {}
        assert len(unread) == 1 and "kernel" in next(iter(unread))
