"""Files of `torch.save`: the zip format, and the format before PyTorch 1.6."""

import functools
import math
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable

import numpy as np

from paddle_alexnet.weights.archive import Archive, is_zip
from paddle_alexnet.weights.entries import (
    BFLOAT16,
    Entries,
    Entry,
    Unread,
    checked_shape,
    decode,
    is_floating,
    item_size,
    read_exactly,
    size_left,
)
from paddle_alexnet.weights.unpickle import Name, PickleReader, named

_MAGIC = 0x1950A86A20F9469CFC6C
TORCH_LEGACY = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little")  # first bytes of the older format
_KINDS = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}


@dataclass(frozen=True)
class Storage:
    """The numbers of tensors, a part [start : start + size] of the file's numbers under `key`."""

    key: str
    kind: str
    size: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A file's description of a tensor."""

    storage: Any
    offset: Any
    shape: Any
    stride: Any

    def entry(self, read: Callable[[str], bytes]) -> Entry:
        """Return the tensor's entry; `read` returns a storage's bytes. Raises ValueError beyond the storage."""
        shape, stride, storage = checked_shape(self.shape), checked_shape(self.stride), self.storage
        if not isinstance(storage, Storage) or len(shape) != len(stride) or not isinstance(self.offset, int):
            raise ValueError("invalid tensor")
        count = math.prod(shape)
        end = self.offset + sum((side - 1) * step for side, step in zip(shape, stride)) + 1
        if self.offset < 0 or (count > 0 and end > storage.size):
            raise ValueError(f"tensor beyond its storage of {storage.size:,} numbers")
        if count > storage.size:
            raise ValueError("tensor larger than its storage")

        def numbers() -> np.ndarray:
            held = decode(read(storage.key), storage.kind)[storage.start : storage.start + storage.size]
            if len(held) != storage.size:
                raise ValueError(f"{len(held):,} numbers in a storage of {storage.size:,}")
            size = held.itemsize
            return np.ndarray(shape, held.dtype, held, self.offset * size, [step * size for step in stride])

        return Entry(shape, is_floating(storage.kind), numbers)


@dataclass
class Parameter:
    """A parameter; PyTorch before 0.4 writes its tensor afterwards."""

    data: Any = None

    def build(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:  # the oldest format; later ones have only flags here
            self.data = state[0]


def _tensor(_: PickleReader, storage: Any, offset: Any, shape: Any, stride: Any, *__: Any) -> Tensor:
    return Tensor(storage, offset, shape, stride)


def _parameter(_: PickleReader, data: Any = None, *__: Any) -> Parameter:
    return Parameter(data)


_FUNCTIONS: dict[Name, Callable[..., Any]] = {
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch.nn.parameter", "Parameter"): _parameter,
}


def _storage(pid: Any) -> Any:
    """Return the storage of a persistent id; before PyTorch 1.6, a class's source code also has one."""
    if not isinstance(pid, tuple) or pid[:1] not in (("storage",), (b"storage",)):
        return Unread("an object outside")
    _, name, key, _device, size, *view = pid
    if not isinstance(name, Name) or name.name not in _KINDS or not isinstance(size, int):
        raise ValueError("storage of an unknown type")
    key, start = _key(key), 0
    if view and view[0] is not None:  # before PyTorch 1.6
        (_, start, part), whole = view[0], size
        if not all(isinstance(n, int) and 0 <= n <= whole for n in (start, part)) or start + part > whole:
            raise ValueError("view beyond its storage")
        size = part
    return Storage(key, _KINDS[name.name], size, start)


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        key = key.decode("latin1")
    if not isinstance(key, str):
        raise ValueError("storage without a name")
    return key


def read_torch(stream: BinaryIO, unread: set[str]) -> Entries:
    """Yield the tensors of a file. A damaged file raises ValueError or similar."""
    content, read = _open_zip(stream, unread) if is_zip(stream) else _open_legacy(stream, unread)
    for name, value in named(content):
        if isinstance(value, Parameter):
            value = value.data
        if isinstance(value, Tensor):
            yield name, value.entry(read)
        elif isinstance(value, np.ndarray):
            yield name, Entry.of(value)


def _open_zip(stream: BinaryIO, unread: set[str]) -> tuple[Any, Callable[[str], bytes]]:
    archive = Archive(stream)
    name = next((name for name in archive.names if name.endswith("/data.pkl")), None)
    if name is None:
        raise ValueError("zip file without PyTorch's data.pkl")
    folder = name[: -len("data.pkl")]
    with archive.open_whole(name) as pickled:
        reader = PickleReader(
            pickled, size=archive.size(name), unread=unread, functions=_FUNCTIONS, persistent=_storage
        )
        content = reader.load()
    return content, functools.cache(lambda key: archive.read(f"{folder}data/{key}"))


def _open_legacy(stream: BinaryIO, unread: set[str]) -> tuple[Any, Callable[[str], bytes]]:
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Any:
        storage = _storage(pid)
        if isinstance(storage, Storage):
            storages[storage.key] = storage
        return storage

    reader = PickleReader(stream, unread=unread, functions=_FUNCTIONS, persistent=persistent)
    if reader.load() != _MAGIC:
        raise ValueError("not a file of torch.save")
    for _version_and_platform in range(2):
        reader.load()
    content, keys, places = reader.load(), reader.load(), {}
    for key in map(_key, keys):
        size = int.from_bytes(read_exactly(stream, 8), "little") * item_size(storages[key].kind)
        if size > size_left(stream):
            raise ValueError("truncated")
        places[key] = stream.tell(), size
        stream.seek(size, 1)

    def read(key: str) -> bytes:
        place, size = places[key]
        stream.seek(place)
        return read_exactly(stream, size)

    return content, functools.cache(read)
