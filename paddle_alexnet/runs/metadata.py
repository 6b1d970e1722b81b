"""`metadata.json`: what a model is, and where it came from. Read as the input of a stranger.

It needs no Paddle, so that a fault in it is said at once.
"""

import base64
import hashlib
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

from PIL import Image

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import check_there
from paddle_alexnet.network.presets import ModelSpec
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.typed_values import adapter, check_types

SCHEMA = 3  # what is written; what had no number was flat, 2 had no ONNX, no probabilities and no proof
READABLE = (2, SCHEMA)
MAX_BATCH = 4096
MAX_DECODE_LIMIT = 1 << 20  # megabytes
MAX_IMAGE_SIZE = 4096
MAX_BYTES = 100 << 20  # a mean image of that size is 67 MB at most


@dataclass(frozen=True)
class Origin:
    """Where a model came from: the data set that it was trained on, and how well it did after which epoch."""

    data: str  # in words
    data_root: str = ""
    data_csv: str = ""
    epoch: int = 0
    val_loss: Optional[float] = None  # None for converted weights
    val_top1: Optional[float] = None
    paddle: str = ""  # the version that wrote it

    def dataset(self, root: Optional[Path] = None, csv: Optional[Path] = None) -> tuple[Path, Path]:
        """The folder and the CSV of a data set: by default those that the model was trained on.

        Raises UserError, which says where it looked, if they are not there.
        """
        if root is None and not self.data_root:
            raise UserError("this model's data set is not known: name its folder as root")
        theirs = root is None or str(root.absolute()) == self.data_root
        if csv is None and theirs and self.data_csv:
            csv = Path(self.data_csv)
        try:
            where = Path(self.data_root) if root is None else root
            return where, check_there(where, csv)
        except UserError as error:
            if root is not None:
                raise
            moved = "the model was trained on it; if it was moved, name its folder as root"
            raise UserError(f"{str(error).partition(';')[0]}: {moved}") from None


@dataclass(frozen=True)
class Check:
    """How the answers of an engine that runs an exported model compare with the network's, and how long they took."""

    engine: str  # in words
    difference: float  # the largest, as a share of the largest logit, or of 1 where all are smaller
    top1_agreement: float  # share of the images whose most probable class is the same
    milliseconds: dict[int, float] = field(default_factory=dict)  # the median time of a batch, by its size


@dataclass(frozen=True)
class Proof:
    """What was seen of an exported model before it was put in place."""

    images: str  # in words
    checks: tuple[Check, ...]  # the first is the network itself, with which the others are compared
    left_out: dict[str, str]  # engines that do not run it here, and why not
    bytes: int  # of the folder without the metadata
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest of the engines that compute in float32; bfloat16 is a choice whose cost is told."""
        return max(check.difference for check in self.checks if "bfloat16" not in check.engine)


@dataclass(frozen=True)
class Metadata:
    """What a model is: `model` builds its network, `preprocess` makes its input, `classes` name its outputs.

    Of the kinds, `inference` is an export by Paddle and `onnx` one to ONNX. `batch_size` of None takes any number of
    images at once. A checkpoint's output is logits: apply softmax for probabilities.
    """

    model: ModelSpec
    classes: ClassList
    preprocess: Preprocess
    origin: Origin
    kind: Literal["checkpoint", "inference", "onnx"] = "checkpoint"
    output: Literal["logits", "probabilities"] = "logits"
    batch_size: Optional[int] = None
    proof: Optional[Proof] = None
    sha256: dict[str, str] = field(default_factory=dict)  # of every other file in the folder, by name
    schema: int = SCHEMA

    def check_top_k(self, top_k: Optional[int]) -> None:
        """Raise UserError if there are no `top_k` classes; None asks for none."""
        if top_k is not None and not 1 <= top_k <= len(self.classes):
            raise UserError(f"top_k is {top_k}: the model has {len(self.classes)} classes")

    def check_crops(self, crops: int) -> None:
        """Raise UserError for other crops of an image than 1 or 10, or where there is nothing to crop."""
        preprocess = self.preprocess
        if crops not in (1, 10):
            raise UserError(f"crops is {crops}: take 1, the center, or 10, the corners too and all mirrored")
        if crops == 10 and preprocess.patch_size == preprocess.image_size:
            raise UserError(
                f"crops 10: the model sees whole patches of {preprocess.image_size}×{preprocess.image_size}: "
                "use 1, or train with a larger data.resize"
            )


def to_json(metadata: Metadata) -> bytes:
    """The content of `metadata.json`, with a checksum of itself. Raises UserError for what `from_json` would refuse."""
    for fault in _faults(metadata):
        raise UserError(f"a model cannot be written: {fault}")
    content = json.loads(adapter(Metadata).dump_json(metadata))
    return json.dumps({**content, "checksum": _checksum(content)}, indent=2, ensure_ascii=False).encode()


def from_json(content: bytes, *, source: Path) -> Metadata:
    """Read the content of a `metadata.json`. Raises UserError that names `source` if it is not sound."""
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("it holds no names with values")
        checksum = values.pop("checksum", None)
        if "schema" not in values:
            values = _lift(values)
        elif values["schema"] not in READABLE:
            raise UserError(f"{source}: has schema {values['schema']!r:.20}, this version reads {SCHEMA}: upgrade it")
        elif checksum != _checksum(values):
            raise ValueError("its checksum is not that of its content")
        values["schema"] = SCHEMA
        metadata = check_types(Metadata, values)
        for fault in _faults(metadata):
            raise ValueError(fault)
        return metadata
    except (ValueError, RecursionError) as error:
        reason = str(error)
    shown = "".join(c if c.isprintable() else "?" for c in reason[:200])
    raise UserError(f"{source}: damaged or from another program ({shown}): copy or export the model again")


def is_ours(content: bytes) -> bool:
    """Return whether the first bytes of a `metadata.json`, damaged or not, are of one that this package has written."""
    return b'"preset"' in content or b'"wnids"' in content


def input_in_words(preprocess: Preprocess) -> str:
    """What an image goes through before a network sees it."""
    patch, size = preprocess.patch_size, preprocess.image_size
    part = "the whole image" if preprocess.geometry == "squash" else "the central square"
    part += f" in {preprocess.geometry}'s whole pixels" if preprocess.rounds else ""
    mean, std = ([float(f"{value:.6g}") for value in values] for values in (preprocess.mean, preprocess.std))
    center = "" if patch == size else f", of it the central {size}×{size}"
    image = " (an image)" if preprocess.mean_image else ""
    turned = "turned as EXIF says" if preprocess.orientation == "exif" else "not turned by EXIF"
    over = f", over {preprocess.background}" if preprocess.background else ""
    cut = ", truncated files accepted" if preprocess.truncated == "accept" else ""
    patches = f"{part} at {patch}×{patch}{center}"
    return f"{patches}, mean {mean}{image}, std {std}, {preprocess.resample}, {turned}{over}{cut}"


def _lift(flat: dict[str, Any]) -> dict[str, Any]:
    """The form of today of the flat one that had no schema."""
    classes = flat.get("classes") or {}
    names = classes.get("names") if isinstance(classes, dict) else None
    model = {name: flat.pop(name, None) for name in ("preset", "lrn", "quirks")}
    names_of_origin = Origin.__dataclass_fields__
    return {
        "model": {**model, "num_classes": len(names) if isinstance(names, list) else None},
        "origin": {name: flat.pop(name) for name in names_of_origin if name in flat},
        **flat,
    }


def _checksum(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _faults(metadata: Metadata) -> Iterator[str]:
    """What is wrong with values of the right types."""
    names, preprocess = metadata.classes.names, metadata.preprocess
    if not names or len(names) != len(metadata.classes.wnids) or len(names) != metadata.model.num_classes:
        yield f"{len(names)} class names, {len(metadata.classes.wnids)} wnids, {metadata.model.num_classes} outputs"
    if len(set(names)) < len(names):
        yield "two classes have the same name"
    for text in _texts(asdict(metadata)):
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            yield f"a control character in {text[:80]!r}"
    size = preprocess.image_size
    if not 1 <= size <= preprocess.patch_size <= MAX_IMAGE_SIZE:
        yield f"image_size {size}, resize {preprocess.resize}: must be 1 to {MAX_IMAGE_SIZE}, image_size the smaller"
    if not 1 <= preprocess.decode_limit <= MAX_DECODE_LIMIT:
        yield f"decode_limit {preprocess.decode_limit}: must be 1 to {MAX_DECODE_LIMIT} megabytes"
    if preprocess.background is not None and not re.fullmatch("#[0-9a-f]{6}", preprocess.background):
        yield f"background {preprocess.background!r:.20}: must be #rrggbb"
    if not all(map(math.isfinite, (*preprocess.mean, *preprocess.std))) or 0 in preprocess.std:
        yield f"mean {preprocess.mean}, std {preprocess.std}: must be finite, and std not 0"
    if preprocess.mean_image is not None and _png_size(preprocess.mean_image) != (size, size):
        yield f"mean_image is not a PNG of {size}×{size} pixels"
    if metadata.batch_size is not None and not 1 <= metadata.batch_size <= MAX_BATCH:
        yield f"batch_size {metadata.batch_size}: must be 1 to {MAX_BATCH}"
    if metadata.proof and not metadata.proof.checks:
        yield "a proof without checks"
    for name, digest in metadata.sha256.items():
        if not name or name != Path(name).name or name.startswith(".") or "\\" in name or len(name.encode()) > 255:
            yield f"{name[:80]!r} is not the name of a file in the folder"
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            yield f"{digest[:80]!r} is not a SHA-256"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _texts(inner)


def _png_size(text: str) -> Optional[tuple[int, int]]:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            return image.size if image.mode == "RGB" else None
    except Exception:  # a damaged picture may raise anything
        return None
