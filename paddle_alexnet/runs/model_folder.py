"""A folder that holds a finished model: written in one step, read whole or not at all.

Checkpoints and exported inference models are such folders. Each carries `metadata.json`: what the model is, and a
checksum of every other file (Paddle loads a file with a flipped byte without a word).
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
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_folder, refuse_strays, sync
from paddle_alexnet.system.user_path import user_path

METADATA = "metadata.json"
_WEIGHTS = {"weights.pdparams", "model.pdiparams", "model.onnx"}  # every model has one of these
_NAMES = {  # of every file that a model of any version may have
    *(METADATA, *_WEIGHTS, "state.json", "optimizer.npz", "average.npz"),
    *("model.pdmodel", "model.json", "model.pdiparams.info"),
}
MAX_BYTES = 4 << 30  # of a file; the largest network's weights have 0.3 GB
# A link could lead to any file, and to open a pipe would be to wait for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Model:
    """A model as it was read: `files` are the bytes of each, by name, that agree with `metadata`."""

    path: Path
    metadata: Metadata
    files: dict[str, bytes]


@contextmanager
def writing_model(
    place: Path, metadata: Metadata, fill: Callable[[Path], object], *, aside: bool = False
) -> Iterator[None]:
    """Let `fill` write into a temporary folder beside `place`, and swap it in at the end of the `with`.

    It may return the metadata to write, where they tell what came of it.
    A reader, and a run that is killed at any moment, find the old folder or the new one, whole.
    Raises UserError if something else is there, or the disk refuses; what was there stays. An older model with files of
    somebody else in its folder is refused too, or with `aside` kept as NAME.1.
    """
    check_replaceable(place, metadata.kind, aside=aside)
    with atomic_folder(place, replace=own_files, aside=aside) as partial:
        described = fill(partial)
        metadata = described if isinstance(described, Metadata) else metadata
        sums = {}
        for path in sorted(partial.iterdir()):
            sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            sync(path)  # here, so that between this and the swap there is next to no time
        (partial / METADATA).write_bytes(to_json(replace(metadata, sha256=sums)))
        yield


def write_model(place: Path, metadata: Metadata, fill: Callable[[Path], object], *, aside: bool = False) -> None:
    """`writing_model`, with nothing to do before the swap."""
    with writing_model(place, metadata, fill, aside=aside):
        pass


def check_replaceable(place: Path, kind: str, *, aside: bool = False) -> None:
    """Raise UserError if something is at `place` that is not an older model of this kind, and nothing else.

    A damaged model may be replaced. With `aside`, files beside those of the model are no obstacle.
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
    """Return the names of the files of a model in a folder: those that its metadata list.

    A model whose metadata are damaged may have any of the names that models have. Raises UserError if the folder is
    not a model's.
    """
    names = {path.name for path in place.iterdir()}
    content = b""
    if METADATA in names:
        content = _read(place, METADATA, at_most=MAX_METADATA)
        try:
            return {METADATA, *(from_json(content, source=place / METADATA).sha256 or _NAMES)}
        except UserError:
            pass
    damaged = METADATA in names and (is_ours(content) or not content.strip(b"\0"))  # NUL: after a loss of power
    if names and not (damaged and names & _WEIGHTS):
        raise UserError(f"{place}: already exists and is not a model; choose another folder")
    return _NAMES


def find_model(path: Union[str, os.PathLike[str]]) -> Path:
    """The folder of the model that a path means: a run (its best checkpoint), a model's folder or a file in it.

    Raises UserError if there is no model.
    """
    place = user_path(path).resolve()
    place = place.parent if place.is_file() else place
    run = RunFolder(place)
    place = run.best if run.checkpoints.is_dir() else place
    if any((folder / METADATA).is_file() for folder in _places(place)):
        return place
    raise UserError(f"{path}: no model there: name a run, a checkpoint or an exported folder")


def files_of(path: Union[str, os.PathLike[str]]) -> list[Path]:
    """Return the files of the model that a path means, and of its run, as inputs which no output may replace."""
    place = find_model(path)
    run = RunFolder(place.parent.parent if place.parent.name == "checkpoints" else place.parent)
    return [*(place / name for name in _NAMES), *(run.files() if run.is_run() else ())]


def read_metadata(path: Union[str, os.PathLike[str]]) -> Metadata:
    """What is known of the model that a path means, without a look at its other files. Raises UserError if none is."""
    place = find_model(path)
    return from_json(_read_metadata(place), source=place / METADATA)


def read_model(path: Union[str, os.PathLike[str]], metadata: Optional[Metadata] = None) -> Model:
    """Read the model that a path means, see `find_model`, and check every byte of it.

    `metadata` is what is known of it already. All that is read belongs together, also while a training run replaces
    the folder: it is read again if that happened meanwhile.

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
    """Where a model's folder may be: for a moment while it is replaced, only its old one is there."""
    return place, place.with_name(f".{place.name}.old"), place


def _read_metadata(place: Path) -> bytes:
    return _read(place, METADATA, at_most=MAX_METADATA)


def _read_checked(place: Path, name: str, metadata: Metadata) -> bytes:
    content = _read(place, name)
    if hashlib.sha256(content).hexdigest() != metadata.sha256[name]:
        raise UserError(f"{place / name}: damaged, its checksum is not the one in {METADATA}; copy or export it again")
    return content


def _read(place: Path, name: str, *, at_most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file in a model's folder."""
    for folder in _places(place):
        try:
            with open(os.open(folder / name, _FLAGS), "rb") as stream:
                found = os.fstat(stream.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_size > at_most:
                    raise UserError(f"{place / name}: not a file of a model: copy or export it again")
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"{place / name}: cannot read it ({error.strerror})") from None
    raise UserError(f"{place / name}: missing from the model; copy the whole folder")
