"""Keras' files: HDF5 (`.h5`), and zip files of Keras 3 (`.keras`) that contain HDF5.

Links and data sets that refer to other files are skipped.
"""

import importlib
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paddle_alexnet.weights.archive import Archive
from paddle_alexnet.weights.entries import (
    MAX_ARRAYS,
    MAX_NUMBERS,
    Entries,
    Entry,
    array_of,
    checked_shape,
    is_floating,
    item_size,
    numeric,
    size_left,
)

_MAX_DEPTH = 16  # nested groups


def read_hdf5(stream: BinaryIO, unread: set[str]) -> Entries:
    """Yield the data sets of a file. A damaged file raises ValueError or similar."""
    h5py = importlib.import_module("h5py")
    size = size_left(stream)
    for name, dataset in _datasets(h5py, h5py.File(stream, "r"), unread):
        kind = numeric(dataset.dtype.str)
        if dataset.external or dataset.is_virtual:
            unread.add(f"{name}, which is in another file")
        elif kind is not None and dataset.shape is not None:

            def read(dataset: Any = dataset, kind: str = kind) -> np.ndarray:
                return _read(dataset, kind, size)

            yield name, Entry(checked_shape(dataset.shape), is_floating(kind), read)


def read_keras(stream: BinaryIO, unread: set[str]) -> Entries:
    """Yield the data sets of the HDF5 file in a `.keras` file. A damaged file raises ValueError or similar."""
    return read_hdf5(io.BytesIO(Archive(stream).read("model.weights.h5")), unread)


def _datasets(h5py: Any, file: Any, unread: set[str]) -> Iterator[tuple[str, Any]]:
    left = MAX_ARRAYS

    def walk(group: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
        nonlocal left
        for key in group:
            name, left = f"{path}/{key}" if path else key, left - 1
            if depth > _MAX_DEPTH or left < 0:
                raise ValueError(f"more than {MAX_ARRAYS:,} groups and data sets" if left < 0 else "nested too deep")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                unread.add(f"{name}, which is a link")
                continue
            item = group[key]
            if isinstance(item, h5py.Group):
                yield from walk(item, name, depth + 1)
            elif isinstance(item, h5py.Dataset):
                yield name, item

    return walk(file, "", 0)


def _read(dataset: Any, kind: str, file_size: int) -> np.ndarray:
    """Return a data set's numbers, whose stored parts `file_size` bounds."""
    if dataset.chunks is None:
        if math.prod(dataset.shape) * item_size(kind) > file_size:
            raise ValueError("data set larger than the file")
        return np.asarray(dataset[()])
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    chunk = math.prod(dataset.chunks)
    if dataset.id.get_num_chunks() > MAX_ARRAYS or chunk > MAX_NUMBERS:
        raise ValueError("too many or too large chunks")
    array = np.zeros(dataset.shape, kind)
    for index in range(dataset.id.get_num_chunks()):
        part = dataset.id.get_chunk_info(index)
        if part.size > file_size:
            raise ValueError("chunk larger than the file")
        used = [kind for bit, kind in enumerate(filters) if not part.filter_mask >> bit & 1]
        _, raw = dataset.id.read_direct_chunk(part.chunk_offset)
        numbers = array_of(_unpack(raw, used, chunk * item_size(kind), item_size(kind)), kind, dataset.chunks)
        place = tuple(slice(start, start + side) for start, side in zip(part.chunk_offset, dataset.chunks))
        target = array[place]
        target[...] = numbers[tuple(slice(side) for side in target.shape)]
    return array


def _unpack(raw: bytes, filters: list[int], size: int, item: int) -> bytes:
    """Undo the filters of a chunk, up to `size` bytes; HDF5's own inflate has no bound."""
    deflate, shuffle, checksum = 1, 2, 3
    for kind in reversed(filters):
        if kind == deflate:
            raw = zlib.decompressobj().decompress(raw, size + 4)  # a checksum may follow
        elif kind == shuffle and len(raw) == size:
            raw = np.frombuffer(raw, np.uint8).reshape(item, -1).T.tobytes()
        elif kind == checksum:
            raw = raw[:-4]
        else:
            raise ValueError("unsupported compression: save the file without compression")
    return raw


def write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write Keras 2's format, which `load_weights` of Keras 2 and 3 reads in the order of the layers."""
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "w", locking=False) as file:  # `atomic_file` already holds a lock
        layers = list(dict.fromkeys(name.partition("/")[0] for name in arrays))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            names = [name for name in arrays if name.startswith(f"{layer}/")]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = arrays[name]
