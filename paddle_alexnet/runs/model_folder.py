"""A folder that holds a finished model: written in one step, read only if it is whole.

Checkpoints and exported inference models are such folders. Each carries `metadata.json`: what the
network is, what its input goes through, what its outputs mean, and a checksum of every other file
(Paddle loads a file with a flipped byte without a word).
"""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Literal, Optional

from pydantic import TypeAdapter, ValidationError

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_folder, finish_swap


@dataclass(frozen=True)
class Metadata:
    """What a model is. `output` is always logits: apply softmax for probabilities."""

    preset: str
    lrn: str
    quirks: tuple[str, ...]
    classes: ClassList
    preprocess: Preprocess
    data: str  # the data set in words
    data_root: str
    data_csv: str
    epoch: int
    val_loss: Optional[float]  # None for converted weights
    val_top1: Optional[float]
    paddle: str
    kind: Literal["checkpoint", "inference"] = "checkpoint"
    output: str = "logits"
    sha256: dict[str, str] = field(default_factory=dict)  # by file name


_JSON = TypeAdapter(Metadata)


def write_folder(place: Path, metadata: Metadata, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder beside `place`, then swap it in.

    A reader, and a run that is killed at any moment, find the old folder or the new one, whole.
    Raises UserError where something else is there, or the disk refuses; what was there stays.
    """
    if place.exists() and not (place / "metadata.json").is_file():
        raise UserError(f"{place}: there already, and not a model: name another folder")
    with atomic_folder(place, replace=True) as partial:
        fill(partial)
        sums = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
        (partial / "metadata.json").write_bytes(_JSON.dump_json(replace(metadata, sha256=sums), indent=2))


def read_folder(path: Path) -> tuple[Path, Metadata]:
    """Find the model folder that `path` means, check every byte of it, and read its metadata.

    `path` is a run (meaning its best checkpoint), a checkpoint, an exported folder or a file in
    one of these. Raises UserError if there is none or if it is damaged.
    """
    place = path.parent if path.is_file() else path
    if (place / "checkpoints").is_dir():
        place = place / "checkpoints" / "best"
    finish_swap(place)
    try:
        metadata = _JSON.validate_json((place / "metadata.json").read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no model there: name a run, a checkpoint or an exported folder") from None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{place / 'metadata.json'}: damaged or from another program ({reason})") from None
    for name, expected in metadata.sha256.items():
        file = place / name
        if not file.is_file():
            raise UserError(f"{file}: missing from the model; copy the whole folder")
        if _sha256(file) != expected:
            raise UserError(f"{file}: damaged, its checksum is not the one in metadata.json; copy or export it again")
    return place, metadata


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
