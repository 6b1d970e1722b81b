"""Arrays out of pickles, and nothing else: what a file asks to run is refused, not run."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Optional

import numpy as np
from numpy._core import multiarray


def _latin1(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes in pickles that Python 2 can read
    ("builtins", "tuple"): tuple,  # how Paddle writes a tensor: its name and its array
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{
        (module, name): getattr(multiarray, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    },
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays, containers, numbers and text, and the names in `known`.

    Raises UnpicklingError for any other name, before anything is done with it.
    """

    def __init__(self, stream: BinaryIO, known: Optional[Mapping[tuple[str, str], Any]] = None) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self._names = {**_KNOWN, **(known or {})}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it would run {module}.{name}: save the weights alone")
        return self._names[module, name]


def decode(raw: bytes, kind: str) -> np.ndarray:
    """Numbers [n] from little-endian bytes; `bf16`, which NumPy does not have, as float32."""
    if kind == "bf16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, kind)


def load_pdparams(stream: BinaryIO) -> dict[str, Any]:
    """What `paddle.load` gives of a state dict, tensors as arrays.

    Raises UnpicklingError if it is no dictionary, or if there is more in it than arrays in containers.
    """
    state = ArrayUnpickler(stream).load()
    if not isinstance(state, dict):
        raise pickle.UnpicklingError(f"it holds a {type(state).__name__}, not names with arrays")
    # Paddle writes a tensor as (its own name, array).
    return {name: value[1] if isinstance(value, tuple) and len(value) == 2 else value for name, value in state.items()}


def load_torch(path: Path) -> Any:
    """What `torch.load` gives, tensors as arrays: the zip form, and the form before PyTorch 1.6.

    Raises UnpicklingError if there is more in it than tensors in containers.
    """
    if not zipfile.is_zipfile(path):
        return _load_torch_legacy(path)
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if name is None:
            raise pickle.UnpicklingError("a zip file without the data.pkl of PyTorch")
        with archive.open(name) as stream:
            unpickler = _TorchUnpickler(stream)
            content = unpickler.load()
        folder = name[: -len("data.pkl")]
        for key, (kind, storage) in unpickler.storages.items():
            storage[:] = decode(archive.read(f"{folder}data/{key}"), kind).reshape(storage.shape)
    return content


def _load_torch_legacy(path: Path) -> Any:
    with path.open("rb") as stream:
        if ArrayUnpickler(stream).load() != 0x1950A86A20F9469CFC6C:
            raise pickle.UnpicklingError("not a file of torch.save")
        for _version_and_platform in range(2):
            ArrayUnpickler(stream).load()
        unpickler = _TorchUnpickler(stream)
        content = unpickler.load()
        for key in ArrayUnpickler(stream).load():
            kind, storage = unpickler.storages[key]
            size = int.from_bytes(stream.read(8), "little")
            raw = stream.read(size * (2 if kind == "bf16" else storage.itemsize))
            storage[:] = decode(raw, kind).reshape(storage.shape)
    return content


class _TorchUnpickler(ArrayUnpickler):
    """Makes arrays over `storages`, by key, each a kind and numbers [n] that are to be filled in."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, _TORCH)
        self.storages: dict[str, tuple[str, np.ndarray]] = {}

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, storage_type, key, _device, size, *view = pid
        if key not in self.storages:
            kind = _STORAGES[storage_type]
            self.storages[key] = kind, np.zeros(size, "<f4" if kind == "bf16" else kind)
        storage = self.storages[key][1]
        if view and view[0] is not None:  # the form before 1.6 has views of storages
            _, start, size = view[0]
            return storage[start : start + size]
        return storage


def tensor_of_storage(
    storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> np.ndarray:
    """The tensor of a storage [n]. Raises ValueError where it would reach beyond it: `ndarray` checks."""
    item = storage.itemsize
    return np.ndarray(size, storage.dtype, storage, offset * item, [step * item for step in stride])


class Parameter:
    """A tensor as files of PyTorch before 0.4 hold it, in `data`."""

    def __init__(self, data: Optional[np.ndarray] = None, *_: Any) -> None:
        self.data = data

    def __setstate__(self, state: Any) -> None:
        if len(state) == 5:  # of the oldest; later ones have only flags here
            self.data = state[0]


_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_TORCH: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): tensor_of_storage,
    ("torch._utils", "_rebuild_tensor_v2"): tensor_of_storage,
    ("torch._utils", "_rebuild_parameter"): Parameter,
    ("torch.nn.parameter", "Parameter"): Parameter,
    **{("torch", name): name for name in _STORAGES},
}
