"""Model folders (checkpoints and exported models), written atomically and read with checksums.

`metadata.json` has a checksum of every other file; Paddle itself loads damaged files silently.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Union

from paddle_alexnet.runs.metadata import MAX_BYTES as MAX_METADATA
from paddle_alexnet.runs.metadata import Metadata, from_json, is_ours, to_json
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.files import atomic_folder, refuse_strays, sync
from paddle_alexnet.system.user_path import user_path

METADATA = "metadata.json"
_WEIGHTS = {"weights.pdparams", "model.pdiparams", "model.onnx"}  # every model has one of them
_NAMES = {  # every file name of a model of any version
    *(METADATA, *_WEIGHTS, "state.json", "optimizer.npz", "average.npz"),
    *("model.pdmodel", "model.json", "model.pdiparams.info"),
}
MAX_BYTES = 4 << 30  # per file; the largest network's weights have 0.3 GB
# A link could lead to any file, and opening a pipe would block.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Model:
    """A model that was read."""

    path: Path
    metadata: Metadata
    files: dict[str, bytes]  # content by name, with the checksums of `metadata`


@contextmanager
def writing_model(
    place: Path, metadata: Metadata, fill: Callable[[Path], object], *, aside: bool = False
) -> Iterator[None]:
    """Fill a temporary folder beside `place`, and swap it in at the end of the `with` statement.

    Readers, also after a kill, find the complete old folder or the complete new one.

    Args:
        fill: Writes the files into a folder; may return metadata that replace `metadata`.
        aside: Keep an older model with foreign files as NAME.1 instead of refusing it.

    Raises:
        UserError: `place` is not replaceable or cannot be written; its content is unchanged.
    """
    check_replaceable(place, metadata.kind, aside=aside)
    with atomic_folder(place, replace=own_files, aside=aside) as partial:
        described = fill(partial)
        metadata = described if isinstance(described, Metadata) else metadata
        sums = {}
        for path in sorted(partial.iterdir()):
            sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            sync(path)  # now, which keeps the swap short
        (partial / METADATA).write_bytes(to_json(replace(metadata, sha256=sums)))
        yield


def write_model(place: Path, metadata: Metadata, fill: Callable[[Path], object], *, aside: bool = False) -> None:
    """Write a model like `writing_model`, but swap it in at once."""
    with writing_model(place, metadata, fill, aside=aside):
        pass


def check_replaceable(place: Path, kind: str, *, aside: bool = False) -> None:
    """Raise UserError unless `place` is free or has only an older, possibly damaged model of this kind.

    Args:
        aside: Allow files that are not the model's.
    """
    if not user_path(place).exists():
        return
    if aside:
        own_files(place)
    else:
        refuse_strays(place, own_files)
    try:
        found = read_metadata(place).kind
    except UserError:  # damaged, or an empty folder
        return
    if found != kind:
        raise UserError(f"{place}: already exists and is a model of kind {found}, not {kind}; choose another folder")


def own_files(place: Path) -> set[str]:
    """Return the file names of a model: those in its metadata, or all possible names if its metadata are damaged.

    Raises:
        UserError: The folder has other content.
    """
    names = {path.name for path in place.iterdir()}
    content = b""
    if METADATA in names:
        content = _read(place, METADATA, at_most=MAX_METADATA)
        try:
            return {METADATA, *(from_json(content, source=place / METADATA).sha256 or _NAMES)}
        except UserError:
            pass
    damaged = METADATA in names and (is_ours(content) or not content.strip(b"\0"))  # NUL: after a power failure
    if names and not (damaged and names & _WEIGHTS):
        raise UserError(f"{place}: already exists and is not a model; choose another folder")
    return _NAMES


def find_model(path: Union[str, os.PathLike[str]]) -> Path:
    """Return the model folder of a run (its best checkpoint), of a model folder, or of a file in a model folder.

    Raises:
        UserError: There is no model.
    """
    place = user_path(path).resolve()
    place = place.parent if place.is_file() else place
    run = RunFolder(place)
    place = run.best if run.checkpoints.is_dir() else place
    if any((folder / METADATA).is_file() for folder in _places(place)):
        return place
    raise MissingFileError(f"{path}: model not found; name a run, a checkpoint or an exported folder")


def files_of(path: Union[str, os.PathLike[str]]) -> list[Path]:
    """Return the files of a model and of its run, which no output may replace."""
    place = find_model(path)
    run = RunFolder(place.parent.parent if place.parent.name == "checkpoints" else place.parent)
    return [*(place / name for name in _NAMES), *(run.files() if run.is_run() else ())]


def read_metadata(path: Union[str, os.PathLike[str]]) -> Metadata:
    """Read only the metadata of a model (`find_model`). Raises UserError if there is none or it is damaged."""
    place = find_model(path)
    return from_json(_read_metadata(place), source=place / METADATA)


def read_model(path: Union[str, os.PathLike[str]], metadata: Optional[Metadata] = None) -> Model:
    """Read a model (`find_model`) and check every byte, again if a training run replaces the folder meanwhile.

    Args:
        metadata: The model's metadata, if already read.

    Raises:
        UserError: There is no model, or it is damaged.
    """
    place = find_model(path)
    content = b"" if metadata else _read_metadata(place)
    while True:
        try:
            found = metadata or from_json(content, source=place / METADATA)
            return Model(place, found, {name: _read_checked(place, name, found) for name in found.sha256})
        except UserError:
            before, content = content, _read_metadata(place)
            if content == before or (metadata and from_json(content, source=place / METADATA) == metadata):
                raise
            metadata = None


def _places(place: Path) -> tuple[Path, ...]:
    """Return the possible places of a model's folder: for a moment during a swap, only the old one exists."""
    return place, place.with_name(f".{place.name}.old"), place


def _read_metadata(place: Path) -> bytes:
    return _read(place, METADATA, at_most=MAX_METADATA)


def _read_checked(place: Path, name: str, metadata: Metadata) -> bytes:
    content = _read(place, name)
    if hashlib.sha256(content).hexdigest() != metadata.sha256[name]:
        raise UserError(f"{place / name}: is damaged, its checksum does not match {METADATA}; copy or export it again")
    return content


def _read(place: Path, name: str, *, at_most: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file in a model's folder."""
    for folder in _places(place):
        try:
            with open(os.open(folder / name, _FLAGS), "rb") as stream:
                found = os.fstat(stream.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_size > at_most:
                    raise UserError(f"{place / name}: is not a model's file; copy or export it again")
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"{place / name}: is unreadable ({error.strerror}); make it readable") from None
    raise MissingFileError(f"{place / name}: file of the model not found; copy the whole folder")
