"""Weight file formats: named arrays in the layout of the framework that wrote the file.

Reading runs no code from a file and allocates nothing beyond the bounds of `entries.py`.
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

from paddle_alexnet.system.errors import MissingFileError, UserError
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
    """The weights and biases of a file."""

    file_format: str
    arrays: dict[str, np.ndarray]  # by their names in the file without the common prefix
    notes: tuple[str, ...]  # on skipped content


def read_arrays(path: Path, file_format: Optional[str] = None, *, key: Optional[str] = None) -> FileWeights:
    """Read a file's weights and biases, without integers and optimizer state.

    Args:
        file_format: Layout of the arrays, and the file's kind if neither its first bytes nor its suffix tell.
        key: One of several groups of weights in the file, such as a moving average.

    Raises:
        UserError: The file is not found, unreadable, or has several groups.
    """
    path = path.expanduser()
    if os.path.isfile(f"{path}.index"):  # TensorFlow names a checkpoint without suffix
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
                    f"{path}: unknown kind of file by content and suffix ({', '.join(_READERS)}); "
                    f"name its framework with --from: {', '.join(LAYOUTS)}"
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
        raise MissingFileError(f"{path}: file not found; check the path") from None
    except Exception as error:  # a damaged file may raise anything
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(f"{path}: is damaged or not a weight file ({reason}); choose another") from None
    left_out = len(entries) - len(found)
    notes = [f"left out {left_out} arrays beside these weights"] if left_out else []
    if unread:
        notes.append(f"left unread: {_list(unread)}")
    return FileWeights(_format(arrays, file_format or usual or ""), arrays, tuple(notes))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays in the format of the suffix. Raises UserError if the file cannot be written."""
    _, write = WRITERS[path.suffix.lower()]
    try:
        with atomic_file(path) as partial:
            write(partial, arrays)
    except UserError:
        raise
    except ImportError as error:
        raise _missing(path, error) from None
    except Exception as error:  # frameworks have their own errors for a full disk
        raise UserError(f"{path}: cannot write it ({printable(' '.join(str(error).split()))})") from None


def _missing(path: Path, error: ImportError) -> UserError:
    extra = {"torch": "torch", "h5py": "keras"}.get(error.name or "", "parity")
    return UserError(f'{path}: requires {error.name} ({error}); pip install "paddle-alexnet[{extra}]"')


def _kind_of(stream: BinaryIO) -> Optional[str]:
    """Return the usual suffix for a file's first bytes, or None."""
    start, size = stream.read(14), stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with suppress(Exception):  # damaged: the suffix decides
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
    """Return floating-point arrays by name, without optimizer state.

    Caffe's first files have `four_axes` throughout: [1, 1, out, in] and [1, 1, 1, out].
    """
    found: dict[str, Entry] = {}
    for name, entry in entries:
        found[name] = _plain(entry) if four_axes and entry.shape[:2] == (1, 1) else entry
        if len(found) > MAX_ARRAYS:
            raise ValueError(f"more than {MAX_ARRAYS:,} arrays")
    return {name: found[name] for name in _without_slots(found) if found[name].floating and found[name].shape}


def _without_slots(names: Collection[str]) -> list[str]:
    """Drop names of optimizer state such as `conv1/weights/Momentum`.

    Keras 3 in a TensorFlow checkpoint keeps the weights under its optimizer.
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
    """Return the arrays of one group of weights, without their common prefix.

    Checkpoints nest a network's weights: `{"state_dict": {"module.features.0.weight": …}, "epoch": 3}`.

    Raises:
        UserError: Several groups have weights and `key` names none of them, or no array is floating-point.
    """
    if key is not None:
        found = _below(entries, key)
        if not found:
            known = _list(_groups(entries)) or "no groups"
            raise UserError(f"{source}: has no weights under {key!r}; choose a key among {known}")
        entries = found
    while groups := [group for group in _groups(entries) if _is_whole(_below(entries, group))]:
        if len(groups) > 1:
            raise UserError(f"{source}: has several groups of weights; choose one as key: {_list(groups)}")
        entries = _below(entries, groups[0])
    if not entries:
        hint = f", left unread: {_list(unread)}" if unread else ""
        raise UserError(f"{source}: has no floating-point weights{hint}; choose another file")
    return dict(entries)


def _groups(names: Iterable[str]) -> Counter[str]:
    """Count the names' prefixes before the first `.` or `/`."""
    return Counter(parts[0] for name in names if len(parts := re.split(r"[./]", name, maxsplit=1)) > 1)


def _below(entries: Mapping[str, Entry], group: str) -> dict[str, Entry]:
    size = len(group)
    return {
        name[size + 1 :]: entry
        for name, entry in entries.items()
        if name.startswith(group) and name[size : size + 1] in ("/", ".")
    }


def _is_whole(entries: Mapping[str, Entry]) -> bool:
    """Return whether the arrays suffice for an AlexNet; `features` alone does not."""
    kernels = sum(len(entry.shape) == 4 for entry in entries.values())
    matrices = sum(len(entry.shape) == 2 for entry in entries.values())
    return kernels >= 5 and matrices >= 2 and kernels + matrices >= 8


def _format(arrays: Mapping[str, np.ndarray], given: str) -> str:
    """Return the format, after the content has distinguished formats of one kind of file."""
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


# The suffix to assume for a format if content and name do not tell.
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
