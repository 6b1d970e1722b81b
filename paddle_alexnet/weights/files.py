"""Files of weights: arrays by name, as the framework that wrote the file lays them out.

Nothing in a file is run. PyTorch's, Paddle's and NumPy's are read without those frameworks' own
loaders, which unpickle; h5py and TensorFlow are imported where they are needed.
"""

import importlib
import json
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle

from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_file
from paddle_alexnet.weights.unpickle import ArrayUnpickler, Parameter, decode, load_pdparams, load_torch


def read_arrays(path: Path, file_format: Optional[str] = None) -> tuple[str, dict[str, np.ndarray]]:
    """The file's format, and its weights and biases by their names there.

    What is not of floating point and what an optimiser left there is passed over. The suffix says how
    to read it; where that says nothing, `file_format` does. Raises UserError if it cannot be read.
    """
    if path.with_name(f"{path.name}.index").is_file():  # TensorFlow's own name for its files
        path = path.with_name(f"{path.name}.index")
    elif path.suffix.startswith(".data-"):
        path = path.with_suffix(".index")
    usual, read = _READERS.get(path.suffix, (None, None))
    if read is None:
        read = next((read for name, read in _READERS.values() if name == file_format), None)
    if read is None:
        raise UserError(f"{path}: unknown kind of file; known are {', '.join(_READERS)}, or say --from")
    try:
        found = {name: _plain(array) for name, array in read(path)}
    except ImportError as error:
        raise _missing(path, error) from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a file of weights, or a damaged one ({reason})") from None
    arrays = {name: found[name] for name in _without_slots(found) if _is_parameter(found[name])}
    return _format(arrays, file_format or usual or ""), arrays


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, as the suffix says. Raises UserError if that cannot be done."""
    _, write = WRITERS[path.suffix]
    try:
        with atomic_file(path) as partial:
            write(partial, arrays)
    except ImportError as error:
        raise _missing(path, error) from None


def _missing(path: Path, error: ImportError) -> UserError:
    return UserError(f'{path}: needs {error.name} ({error}): pip install -e ".[parity]"')


def _without_slots(names: Collection[str]) -> set[str]:
    """The names that are not an optimiser's: `conv1/weights`, but not `conv1/weights/Momentum`.

    Keras 3 in a TensorFlow checkpoint keeps the weights themselves under its optimiser.
    """
    state = re.compile(r"optimi[sz]er|(^|/)(_variables|_momentums|_velocities)/")
    return {
        name
        for name in names
        if ("_trainable_variables" in name or not state.search(name))
        and not any(name[: slash.start()] in names for slash in re.finditer("/", name))
    }


def _plain(array: np.ndarray) -> np.ndarray:
    """Caffe's first files have four axes throughout: [1, 1, out, in] and [1, 1, 1, out]."""
    return array.squeeze() if array.shape[:2] == (1, 1) else array


def _is_parameter(array: np.ndarray) -> bool:
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"  # which TensorFlow adds to NumPy
    return floating and array.ndim > 0


def _format(arrays: Mapping[str, np.ndarray], given: str) -> str:
    """Two formats are told apart only by what is in the file."""
    if given == "paddle" and "_fc6.weight" in arrays:
        return "paddleclas"
    kernels = [array.shape for array in arrays.values() if array.ndim == 4]
    if given == "caffe" and kernels and all(shape[0] == shape[1] for shape in kernels):
        return "caffe-tensorflow"
    return given


def _named(content: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Arrays in nested containers, named by their path."""
    if isinstance(content, Parameter):
        content = content.data
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.tolist()
    if isinstance(content, np.ndarray):
        yield name, content
    elif isinstance(content, (Mapping, list, tuple)):
        items = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in items:
            yield from _named(value, f"{name}/{key}" if name else str(key))


def _read_torch(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    return _named(load_torch(path))


def _read_pdparams(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with path.open("rb") as stream:
        return _named(load_pdparams(stream))


def _read_npy(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with path.open("rb") as stream:
        yield from _named(_load_npy(stream))


def _read_npz(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                yield from _named(_load_npy(stream), member[: -len(".npy")])


def _load_npy(stream: Any) -> Any:
    """The array, or what was pickled where NumPy pickles: lists and dictionaries of arrays."""
    header = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if header == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    if dtype.hasobject:
        return ArrayUnpickler(stream).load()
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """https://github.com/huggingface/safetensors: length, JSON header, numbers."""
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bf16"}
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(min(length, path.stat().st_size)))
        data = stream.read()
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in kinds:
            begin, end = entry["data_offsets"]
            yield name, decode(data[begin:end], kinds[entry["dtype"]]).reshape(entry["shape"])


def _read_hdf5(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    h5py = importlib.import_module("h5py")
    with path.open("rb") as stream, h5py.File(stream, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                yield name, np.asarray(file[name][()])


def _read_tensorflow(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    if not path.is_file():
        raise FileNotFoundError(path)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = importlib.import_module("tensorflow")
    reader = tensorflow.train.load_checkpoint(str(path.with_suffix("")))
    for name, shape in reader.get_variable_to_shape_map().items():
        if shape:
            yield re.sub("/.ATTRIBUTES/VARIABLE_VALUE$", "", name), reader.get_tensor(name)


_Reader = Callable[[Path], Iterator[tuple[str, np.ndarray]]]
_READERS: dict[str, tuple[str, _Reader]] = {
    ".pth": ("torch", _read_torch),
    ".pt": ("torch", _read_torch),
    ".safetensors": ("torch", _read_safetensors),
    ".h5": ("keras", _read_hdf5),
    ".hdf5": ("keras", _read_hdf5),
    ".index": ("tensorflow", _read_tensorflow),
    ".npy": ("caffe", _read_npy),
    ".npz": ("caffe", _read_npz),
    ".pdparams": ("paddle", _read_pdparams),
}


def _write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    torch = importlib.import_module("torch")
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)


def _write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    header, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            stream.write(array.astype("<f4").tobytes())


def _write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """The form that Keras 2 wrote and `load_weights` of Keras 2 and 3 reads, layer by layer in order."""
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "w") as file:
        layers = list(dict.fromkeys(name.partition("/")[0] for name in arrays))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            names = [name for name in arrays if name.startswith(f"{layer}/")]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = arrays[name]


def _write_pdparams(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    paddle.save({name: paddle.to_tensor(array) for name, array in arrays.items()}, str(path))


WRITERS: dict[str, tuple[str, Callable[[Path, Mapping[str, np.ndarray]], None]]] = {
    ".pth": ("torch", _write_torch),
    ".pt": ("torch", _write_torch),
    ".safetensors": ("torch", _write_safetensors),
    ".h5": ("keras", _write_hdf5),
    ".pdparams": ("paddle", _write_pdparams),
}
