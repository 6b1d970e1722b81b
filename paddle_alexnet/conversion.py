"""From a file of weights to another: the way of one conversion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import paddle

from paddle_alexnet.config import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.errors import UserError
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights, save_checkpoint
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.weights.files import WRITERS, read_arrays, write_arrays
from paddle_alexnet.weights.layout import LAYOUTS, choose_preset, from_state, layers, pair, to_state

# Pixels 0..255 less the mean pixel of Caffe's ilsvrc12 mean image, here as RGB of values in 0..1.
CAFFE_MEAN = (122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


@dataclass(frozen=True)
class Converted:
    """What was converted; `notes` are what a user has to know of it, a line each."""

    preset: str
    num_classes: int
    file_format: str
    notes: tuple[str, ...]


def convert(
    source: Path,
    target: Path,
    *,
    preset: Optional[str] = None,
    source_format: Optional[str] = None,
    target_format: Optional[str] = None,
    num_classes: Optional[int] = None,
    seed: int = 0,
    classes: Optional[Path] = None,
) -> Converted:
    """Read weights of any format, check them against a preset, and write them in another format.

    `source` is a file or one of our checkpoints. `target` is a file, or a new folder for a checkpoint
    that training can start from. Without `preset` it is the one that fits. `num_classes` draws a new
    last layer by `seed`, which seeds Paddle. `classes` is a file with one class a line.

    Raises UserError if the source cannot be read, does not fit or has other classes, or if there is
    something at the target already.
    """
    target_format = _check_target(target, target_format)
    if classes is not None and target.suffix in WRITERS:
        raise UserError(f"{target}: this file holds no class names: leave --classes out or name a folder")
    found = _read(source, preset, source_format)
    count = found.num_classes if num_classes is None else num_classes
    if count < 1:
        raise UserError(f"--num-classes is {count}: it must be at least 1")
    if classes is not None:
        names = ClassList.read(classes)
    elif found.metadata is not None and num_classes is None:
        names = found.metadata.classes
    else:
        names = ClassList.unnamed(count)
    if len(names) != count:
        raise UserError(
            f"{classes}: lists {len(names)} classes, the network has {count}: "
            f"--num-classes {len(names)} gives it a new last layer"
        )

    paddle.seed(seed)
    lrn, quirks = (found.metadata.model.lrn, found.metadata.model.quirks) if found.metadata else ("auto", ())
    network = AlexNet(found.preset, count, lrn, quirks=quirks)
    notes, state = _notes(found.file_format), found.state
    if num_classes is not None:
        own, last = network.state_dict(), layers(found.preset)[-1]
        state = {**state, **{name: own[name].numpy() for name in (f"{last.key}.weight", f"{last.key}.bias")}}
        notes.append(f"{last.name} is new, for {count} classes, drawn with seed {seed}")
    load_weights(network, state, source=str(source))
    if target.suffix in WRITERS:
        write_arrays(target, _named(state, found.preset, target_format))
    else:
        save_checkpoint(target, network, _metadata(found, network, classes=names, source=source))
    return Converted(found.preset, count, found.file_format, tuple(notes))


@dataclass(frozen=True)
class _Found:
    """Our state dict out of a source; the metadata if it is a checkpoint of ours."""

    file_format: str
    preset: str
    state: dict[str, np.ndarray]
    metadata: Optional[Metadata] = None

    @property
    def num_classes(self) -> int:
        return len(self.state[f"{layers(self.preset)[-1].key}.bias"])


def _read(source: Path, preset: Optional[str], source_format: Optional[str]) -> _Found:
    if source.is_dir():
        network, metadata = load_checkpoint(source)
        if preset not in (None, metadata.model.preset) or source_format not in (None, "paddle"):
            raise UserError(f"{source}: is a checkpoint of {metadata.model.preset}: leave --preset and --from out")
        state = {name: value.numpy() for name, value in network.state_dict().items()}
        return _Found("paddle", metadata.model.preset, state, metadata)
    file_format, arrays = read_arrays(source, source_format)
    layout = LAYOUTS[file_format]
    weights = pair(arrays, layout, source=str(source))
    preset = choose_preset(weights, preset, source=str(source))
    return _Found(file_format, preset, to_state(weights, preset, layout))


def _notes(file_format: str) -> list[str]:
    notes = []
    if LAYOUTS[file_format].halves_after_dropout:
        notes.append("fc6 and fc7 are halved: PaddleClas at inference halves what dropout gives them")
    if LAYOUTS[file_format].bgr:
        mean, std = ([float(f"{value:.6g}") for value in values] for values in (CAFFE_MEAN, CAFFE_STD))
        notes.append(
            "conv1 is turned from BGR to RGB; input is pixels 0..255 less the mean: "
            f"-o 'data.mean={mean}' -o 'data.std={std}'"
        )
    return notes


def _metadata(found: _Found, network: AlexNet, *, classes: ClassList, source: Path) -> Metadata:
    if found.metadata is not None:
        preprocess = found.metadata.preprocess
    elif LAYOUTS[found.file_format].bgr:
        preprocess = Preprocess(network.image_size, CAFFE_MEAN, CAFFE_STD)
    else:
        preprocess = Preprocess(network.image_size, DataConfig().mean, DataConfig().std)
    origin = Origin(data=f"an unknown set, converted from {source}", paddle=paddle.__version__)
    return Metadata(network.spec, classes, preprocess, origin)


def _check_target(target: Path, given: Optional[str]) -> str:
    """The format to write: what the suffix says, a checkpoint folder where there is none."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise UserError(f"{target}: is there already: name another, or remove it")
    if target.name.endswith(".weights.h5"):
        raise UserError(f"{target}: .weights.h5 is another layout: name it .h5, Keras reads that")
    if target.suffix not in WRITERS:
        if target.suffix and given != "paddle":
            raise UserError(f"{target}: not one of {', '.join(WRITERS)}; for a folder add --to paddle")
        usual = "paddle"
    else:
        usual, _ = WRITERS[target.suffix]
    if given not in (None, usual):
        raise UserError(f"{target}: would be {usual}'s by its name, not {given}'s")
    return usual


def _named(state: Mapping[str, np.ndarray], preset: str, target_format: str) -> dict[str, np.ndarray]:
    """Arrays as a framework lays them out, by the names it gives them."""
    arrays: dict[str, np.ndarray] = {}
    for layer, (weight, bias) in from_state(state, preset, LAYOUTS[target_format]).items():
        if target_format == "keras":
            names = f"{layer.name}/kernel:0", f"{layer.name}/bias:0"
        else:
            key = layer.torch_key if target_format == "torch" else layer.key
            names = f"{key}.weight", f"{key}.bias"
        arrays.update(zip(names, (weight, bias)))
    return arrays
