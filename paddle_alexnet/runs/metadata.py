"""`metadata.json`: a model's network, preprocessing, classes and origin, validated as untrusted input.

This module does not import Paddle, so that errors are reported at once.
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

SCHEMA = 3  # history: unversioned was flat; 2 had no ONNX, no probabilities and no proof
READABLE = (2, SCHEMA)
MAX_BATCH = 4096
MAX_DECODE_LIMIT = 1 << 20  # megabytes
MAX_IMAGE_SIZE = 4096
MAX_BYTES = 100 << 20  # a mean image of MAX_IMAGE_SIZE has up to 67 MB


@dataclass(frozen=True)
class Origin:
    """A model's training data, epoch and validation result."""

    data: str  # description
    data_root: str = ""
    data_csv: str = ""
    epoch: int = 0
    val_loss: Optional[float] = None  # None for converted weights
    val_top1: Optional[float] = None
    paddle: str = ""  # version that wrote the model

    def dataset(self, root: Optional[Path] = None, csv: Optional[Path] = None) -> tuple[Path, Path]:
        """Return the folder and the CSV of a data set, by default the training data's.

        Raises:
            UserError: The folder or the CSV is not found or not known.
        """
        if root is None and not self.data_root:
            raise UserError("the model's data set is not known; name its folder as root")
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
            raise type(error)(f"{str(error).partition(';')[0]}: {moved}") from None


@dataclass(frozen=True)
class Check:
    """The comparison of an engine's outputs with the network's."""

    engine: str  # description
    difference: float  # the largest, relative to the largest logit, but at least to 1
    top1_agreement: float  # share of the images with the same most probable class
    milliseconds: dict[int, float] = field(default_factory=dict)  # median time of a batch, by batch size


@dataclass(frozen=True)
class Proof:
    """The verification of an exported model."""

    images: str  # description
    checks: tuple[Check, ...]  # the first is the network, the reference of the others
    left_out: dict[str, str]  # reasons of the engines that were not checked
    bytes: int  # of the folder without the metadata
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest difference among the engines that compute in float32; bfloat16 is opt-in."""
        return max(check.difference for check in self.checks if "bfloat16" not in check.engine)


@dataclass(frozen=True)
class Metadata:
    """A model's description: `model` builds the network, `preprocess` makes its input, `classes` name its outputs."""

    model: ModelSpec
    classes: ClassList
    preprocess: Preprocess
    origin: Origin
    kind: Literal["checkpoint", "inference", "onnx"] = "checkpoint"  # `inference` is Paddle's export
    output: Literal["logits", "probabilities"] = "logits"  # a checkpoint's are logits
    batch_size: Optional[int] = None  # None for any
    proof: Optional[Proof] = None
    sha256: dict[str, str] = field(default_factory=dict)  # of every other file in the folder
    schema: int = SCHEMA

    def check_top_k(self, top_k: Optional[int]) -> None:
        """Raise UserError unless the model has `top_k` classes or `top_k` is None."""
        if top_k is not None and not 1 <= top_k <= len(self.classes):
            raise UserError(f"top_k is {top_k}: the model has {len(self.classes)} classes; choose at most as many")

    def check_crops(self, crops: int) -> None:
        """Raise UserError unless `crops` is 1, or 10 and the patch is larger than the input."""
        preprocess = self.preprocess
        if crops not in (1, 10):
            raise UserError(f"crops: {crops} is not supported; use 1 (center) or 10 (center, corners and their flips)")
        if crops == 10 and preprocess.patch_size == preprocess.image_size:
            raise UserError(
                f"crops: 10 requires patches larger than the input of {preprocess.image_size}×{preprocess.image_size}; "
                "use 1, or train with a larger data.resize"
            )


def to_json(metadata: Metadata) -> bytes:
    """Return `metadata.json` with its own checksum. Raises UserError for metadata that `from_json` would refuse."""
    for fault in _faults(metadata):
        raise UserError(f"model cannot be written: {fault}; correct it")
    content = json.loads(adapter(Metadata).dump_json(metadata))
    return json.dumps({**content, "checksum": _checksum(content)}, indent=2, ensure_ascii=False).encode()


def from_json(content: bytes, *, source: Path) -> Metadata:
    """Read the content of a `metadata.json`. Raises UserError that names `source` if the content is invalid."""
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        checksum = values.pop("checksum", None)
        if "schema" not in values:
            values = _lift(values)
        elif values["schema"] not in READABLE:
            raise UserError(
                f"{source}: has schema {values['schema']!r:.20}, this version reads {SCHEMA}; upgrade the package"
            )
        elif checksum != _checksum(values):
            raise ValueError("its checksum does not match its content")
        values["schema"] = SCHEMA
        metadata = check_types(Metadata, values)
        for fault in _faults(metadata):
            raise ValueError(fault)
        return metadata
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error)
    shown = "".join(c if c.isprintable() else "?" for c in reason[:200])
    raise UserError(f"{source}: is damaged or from another program ({shown}); copy or export the model again")


def is_ours(content: bytes) -> bool:
    """Return whether the first bytes of a `metadata.json`, even a damaged one, are from this package."""
    return b'"preset"' in content or b'"wnids"' in content


def input_in_words(preprocess: Preprocess) -> str:
    """Return a description of the preprocessing."""
    patch, size = preprocess.patch_size, preprocess.image_size
    part = "the whole image" if preprocess.geometry == "squash" else "the central square"
    part += f" in {preprocess.geometry}'s whole pixels" if preprocess.rounds else ""
    mean, std = ([float(f"{value:.6g}") for value in values] for values in (preprocess.mean, preprocess.std))
    center = "" if patch == size else f", of it the central {size}×{size}"
    image = " (an image)" if preprocess.mean_image else ""
    turned = "EXIF orientation applied" if preprocess.orientation == "exif" else "EXIF orientation ignored"
    over = f", over {preprocess.background}" if preprocess.background else ""
    cut = ", truncated files accepted" if preprocess.truncated == "accept" else ""
    patches = f"{part} at {patch}×{patch}{center}"
    return f"{patches}, mean {mean}{image}, std {std}, {preprocess.resample}, {turned}{over}{cut}"


def _lift(flat: dict[str, Any]) -> dict[str, Any]:
    """Convert the flat metadata without a schema to the current form."""
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
    """Yield the faults of metadata whose types are correct."""
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
        yield "proof without checks"
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
    except Exception:  # a damaged image may raise anything
        return None
