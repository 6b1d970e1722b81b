"""Files of weights: arrays by name, as the framework that wrote the file lays them out.

Nothing in a file is run, and nothing is allocated on its word alone: `entries.py` has the bounds. h5py, TensorFlow,
PyTorch and Paddle are imported where they are needed.
"""

import importlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional

import numpy as np

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_file
from paddle_alexnet.weights.archive import Archive
from paddle_alexnet.weights.caffemodel import read_caffemodel
from paddle_alexnet.weights.entries import (
    MAX_ARRAYS,
    MAX_NUMBERS,
    Entries,
    Entry,
    checked_shape,
    open_regular,
    printable,
)
from paddle_alexnet.weights.hdf5 import read_hdf5, read_keras, write_hdf5
from paddle_alexnet.weights.layout import LAYOUTS
from paddle_alexnet.weights.numpy_file import read_npy, read_npz
from paddle_alexnet.weights.safetensors_file import read_safetensors, write_safetensors
from paddle_alexnet.weights.torch_file import TORCH_LEGACY, read_torch
from paddle_alexnet.weights.unpickle import PickleReader, named, of_paddle


@dataclass(frozen=True)
class FileWeights:
    """The weights and biases of a file by their names there, without what all of them begin with.

    `notes` say what of the file was left out.
    """

    file_format: str
    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]


def read_arrays(path: Path, file_format: Optional[str] = None, *, key: Optional[str] = None) -> FileWeights:
    """Read a file's weights and biases.

    What is not of floating point and what an optimizer left there is passed over. Its first bytes say how to read it,
    else its suffix, else `file_format`, which in any case says how its arrays are laid out. `key` names the group of a
    file that holds several sets of weights, such as a moving average. Raises UserError if the file cannot be read or
    holds several sets.
    """
    path = path.expanduser()
    if os.path.isfile(f"{path}.index"):  # TensorFlow's own name for its files
        path = Path(f"{path}.index")
    elif path.suffix.startswith(".data-"):
        path = path.with_suffix(".index")
    unread: set[str] = set()
    try:
        with open_regular(path) as stream:
            suffix = _kind_of(stream) or path.suffix.lower()
            stream.seek(0)
            if suffix not in _READERS:
                suffix = _BY_FORMAT.get(file_format or "", "")
            usual, read = _READERS.get(suffix, (None, None))
            if read is None:
                raise UserError(
                    f"{path}: unknown kind of file by its content and its name ({', '.join(_READERS)}); "
                    f"say what wrote it with --from: {', '.join(LAYOUTS)}"
                )
            entries = _parameters(read(stream, unread), four_axes=(file_format or usual or "").startswith("caffe"))
            found = choose_group(entries, key, source=str(path), unread=unread)
            if sum(entry.numbers for entry in found.values()) > MAX_NUMBERS:
                raise ValueError(f"more than {MAX_NUMBERS:,} numbers")
            arrays = {name: entry.read() for name, entry in found.items()}
    except UserError:
        raise
    except ImportError as error:
        raise _missing(path, error) from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file may raise anything
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(f"{path}: not a file of weights, or a damaged one ({reason})") from None
    left_out = len(entries) - len(found)
    notes = [f"left out {left_out} arrays beside these weights"] if left_out else []
    if unread:
        notes.append(f"left unread: {_list(unread)}")
    return FileWeights(_format(arrays, file_format or usual or ""), arrays, tuple(notes))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, as the suffix says. Raises UserError if that cannot be done."""
    _, write = WRITERS[path.suffix.lower()]
    try:
        with atomic_file(path) as partial:
            write(partial, arrays)
    except UserError:
        raise
    except ImportError as error:
        raise _missing(path, error) from None
    except Exception as error:  # each framework has its own for a disk that is full
        raise UserError(f"{path}: cannot write it ({printable(' '.join(str(error).split()))})") from None


def _missing(path: Path, error: ImportError) -> UserError:
    extra = {"torch": "torch", "h5py": "keras"}.get(error.name or "", "parity")
    return UserError(f'{path}: needs {error.name} ({error}); pip install "paddle-alexnet[{extra}]"')


def _kind_of(stream: BinaryIO) -> Optional[str]:
    """Return the usual suffix of a file that begins like this, None for an unknown beginning."""
    start, size = stream.read(14), stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with suppress(Exception):  # damaged: then its name says what it was
            names = Archive(stream).names
            for suffix, end in ((".pth", "/data.pkl"), (".keras", "model.weights.h5"), (".npz", ".npy")):
                if any(name.endswith(end) for name in names):
                    return suffix
    elif 2 <= int.from_bytes(start[:8], "little") <= size - 8 and start[8:9] == b"{":
        return ".safetensors"
    else:
        return next((suffix for begin, suffix in _BEGINNINGS.items() if start.startswith(begin)), None)
    return None


_BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": ".h5",
    b"\x93NUMPY": ".npy",
    TORCH_LEGACY: ".pth",
    **{b"\x80" + bytes([protocol]): ".pdparams" for protocol in (2, 3, 4, 5)},  # any other pickle
}


def _parameters(entries: Entries, *, four_axes: bool) -> dict[str, Entry]:
    """The arrays of floating point that are not an optimizer's, by name.

    Caffe's first files have `four_axes` throughout: [1, 1, out, in] and [1, 1, 1, out].
    """
    found: dict[str, Entry] = {}
    for name, entry in entries:
        found[name] = _plain(entry) if four_axes and entry.shape[:2] == (1, 1) else entry
        if len(found) > MAX_ARRAYS:
            raise ValueError(f"more than {MAX_ARRAYS:,} arrays")
    return {name: found[name] for name in _without_slots(found) if found[name].floating and found[name].shape}


def _without_slots(names: Collection[str]) -> list[str]:
    """The names that are not an optimizer's: `conv1/weights`, but not `conv1/weights/Momentum`.

    Keras 3 in a TensorFlow checkpoint keeps the weights themselves under its optimizer.
    """
    state = re.compile(r"optimi[sz]er|(^|/)(_variables|_momentums|_velocities)/")
    return [
        name
        for name in names
        if ("_trainable_variables" in name or not state.search(name))
        and not any(name[: slash.start()] in names for slash in re.finditer("/", name))
    ]


def _plain(entry: Entry) -> Entry:
    shape = tuple(side for side in entry.shape if side != 1)
    return replace(entry, shape=shape, read=lambda: entry.read().reshape(shape))


def choose_group(
    entries: Mapping[str, Entry], key: Optional[str] = None, *, source: str, unread: Iterable[str] = ()
) -> dict[str, Entry]:
    """The arrays of one set of weights, without what all of their names begin with.

    Checkpoints wrap a network's weights in others': `{"state_dict": {"module.features.0.weight": …}, "epoch": 3}`.
    Raises UserError if there are several sets and `key` names none of them.
    """
    if key is not None:
        found = _below(entries, key)
        if not found:
            known = _list(_groups(entries)) or "no groups"
            raise UserError(f"{source}: holds no weights under {key!r}; it holds {known}")
        entries = found
    while groups := [group for group in _groups(entries) if _is_whole(_below(entries, group))]:
        if len(groups) > 1:
            raise UserError(f"{source}: holds several sets of weights: say which as key: {_list(groups)}")
        entries = _below(entries, groups[0])
    if not entries:
        hint = f"; left unread: {_list(unread)}" if unread else ""
        raise UserError(f"{source}: holds no weights of floating point{hint}")
    return dict(entries)


def _groups(names: Iterable[str]) -> Counter[str]:
    """What names begin with, before the first `.` or `/`."""
    return Counter(parts[0] for name in names if len(parts := re.split(r"[./]", name, maxsplit=1)) > 1)


def _below(entries: Mapping[str, Entry], group: str) -> dict[str, Entry]:
    size = len(group)
    return {
        name[size + 1 :]: entry
        for name, entry in entries.items()
        if name.startswith(group) and name[size : size + 1] in ("/", ".")
    }


def _is_whole(entries: Mapping[str, Entry]) -> bool:
    """Whether these are as many kernels and matrices as an AlexNet has: `features` alone is not."""
    kernels = sum(len(entry.shape) == 4 for entry in entries.values())
    matrices = sum(len(entry.shape) == 2 for entry in entries.values())
    return kernels >= 5 and matrices >= 2 and kernels + matrices >= 8


def _format(arrays: Mapping[str, np.ndarray], given: str) -> str:
    """Two formats are told apart only by what is in the file."""
    if given == "paddle" and any(re.search(r"(^|[./])_fc6\.weight$", name) for name in arrays):
        return "paddleclas"
    kernels = [array.shape for array in arrays.values() if array.ndim == 4]
    if given == "caffe" and kernels and all(shape[0] == shape[1] for shape in kernels):
        return "caffe-tensorflow"
    return given


def _list(names: Iterable[str], most: int = 10) -> str:
    names = sorted(names)
    return printable(", ".join(names[:most]) + (", …" if len(names) > most else ""))


def _read_pdparams(stream: BinaryIO, unread: set[str]) -> Entries:
    for name, value in named(PickleReader(stream, unread=unread).load()):
        if isinstance(value, np.ndarray):
            yield name, Entry.of(of_paddle(value))


def _read_tensorflow(stream: BinaryIO, _unread: set[str]) -> Entries:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = importlib.import_module("tensorflow")
    checkpoint = Path(stream.name).with_suffix("")
    for shard in checkpoint.parent.glob(f"{checkpoint.name}.data-*"):
        open_regular(shard).close()
    reader = tensorflow.train.load_checkpoint(str(checkpoint))
    types = reader.get_variable_to_dtype_map()
    for name, shape in reader.get_variable_to_shape_map().items():

        def read(name: str = name) -> np.ndarray:
            return reader.get_tensor(name)

        shown = re.sub("/.ATTRIBUTES/VARIABLE_VALUE$", "", name)
        yield shown, Entry(checked_shape(list(shape)), types[name].is_floating, read)


# How to read a file of which nothing but the format is known.
_BY_FORMAT = {
    **{"torch": ".pth", "keras": ".h5", "tensorflow": ".index", "caffe": ".caffemodel", "caffe-tensorflow": ".npy"},
    **{"paddle": ".pdparams", "paddleclas": ".pdparams"},
}
_Reader = Callable[[BinaryIO, set[str]], Entries]
_READERS: dict[str, tuple[str, _Reader]] = {
    ".pth": ("torch", read_torch),
    ".pt": ("torch", read_torch),
    ".safetensors": ("torch", read_safetensors),
    ".h5": ("keras", read_hdf5),
    ".hdf5": ("keras", read_hdf5),
    ".keras": ("keras", read_keras),
    ".index": ("tensorflow", _read_tensorflow),
    ".npy": ("caffe", read_npy),
    ".npz": ("caffe", read_npz),
    ".caffemodel": ("caffe", read_caffemodel),
    ".pdparams": ("paddle", _read_pdparams),
}


def _write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    torch = importlib.import_module("torch")
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)


def _write_pdparams(path: Path, arrays: Mapping[str, Any]) -> None:
    paddle = importlib.import_module("paddle")
    paddle.save({name: paddle.to_tensor(array) for name, array in arrays.items()}, str(path))


WRITERS: dict[str, tuple[str, Callable[[Path, Mapping[str, np.ndarray]], None]]] = {
    ".pth": ("torch", _write_torch),
    ".pt": ("torch", _write_torch),
    ".safetensors": ("torch", write_safetensors),
    ".h5": ("keras", write_hdf5),
    ".pdparams": ("paddle", _write_pdparams),
}
