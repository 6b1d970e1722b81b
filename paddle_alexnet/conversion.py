"""Convert weights: from a file or a checkpoint to another."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights, save_checkpoint
from paddle_alexnet.runs.metadata import Metadata, Origin, input_in_words
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import working
from paddle_alexnet.system.user_path import user_path
from paddle_alexnet.weights.formats import WRITERS, read_arrays, write_arrays
from paddle_alexnet.weights.layout import (
    LAYOUTS,
    check_finite,
    choose_preset,
    dropout_factor,
    from_state,
    layers,
    pair,
    to_state,
)

# Pixels 0..255 less the mean pixel of Caffe's ilsvrc12 mean image, here as RGB of values in 0..1.
CAFFE_MEAN = (122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Converted:
    """What was converted; `notes` are what a user has to know of it, a line each."""

    preset: str
    num_classes: int
    file_format: str
    preprocess: Preprocess
    quirks: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    source: Path,
    target: Path,
    *,
    preset: Optional[str] = None,
    source_format: Optional[str] = None,
    target_format: Optional[str] = None,
    key: Optional[str] = None,
    num_classes: Optional[int] = None,
    seed: int = 0,
    classes: Optional[Path] = None,
    quirks: Optional[Sequence[str]] = None,
    preprocess: Optional[Mapping[str, Any]] = None,
) -> Converted:
    """Read weights of any format, check them against a preset, and write them in another format.

    `source` is a file or one of our checkpoints. `target` is a file, or a new folder for a checkpoint that training can
    start from. Without `preset` it is the one that fits. `key` names one of several sets of weights in a file.
    `num_classes` draws a new last layer by `seed`, which seeds Paddle. `classes` is a file with one class a line.
    `quirks` are the network's, by default those of the checkpoint. `preprocess` are fields of `Preprocess` that are
    other than the checkpoint's, or than what is usual for the format.

    Raises UserError if the source cannot be read, does not fit or has other classes, or if there is something at the
    target already.
    """
    source, target = user_path(source), user_path(target)
    target_format = _check_target(target, target_format)
    to_file = target.suffix.lower() in WRITERS
    if classes is not None and to_file:
        raise UserError(f"{target}: this file holds no class names: leave the classes out or name a folder")
    with working(f"reading {source}"):
        found = _read(source, preset, source_format, key)
        check_finite(found.state, found.preset, source=str(source))
    count = found.num_classes if num_classes is None else num_classes
    if count < 1:
        raise UserError(f"num_classes is {count}: it must be at least 1")
    if classes is not None:
        names = ClassList.read(classes)
    elif found.metadata is not None and num_classes is None:
        names = found.metadata.classes
    else:
        names = ClassList.unnamed(count)
    if len(names) != count:
        raise UserError(
            f"{classes}: lists {len(names)} classes, the network has {count}: "
            f"convert with num_classes={len(names)} (--num-classes {len(names)}), which draws a new last layer"
        )

    paddle.seed(seed)
    lrn = "auto"
    if found.metadata is not None and quirks is None:
        lrn, quirks = found.metadata.model.lrn, found.metadata.model.quirks
    network = AlexNet(found.preset, count, lrn, quirks=quirks or ())
    notes, state = list(found.notes), found.state
    if num_classes is not None:
        own, last = network.state_dict(), layers(found.preset)[-1]
        state = {**state, **{name: own[name].numpy() for name in (f"{last.key}.weight", f"{last.key}.bias")}}
        notes.append(f"{last.name} is new, for {count} classes, drawn with seed {seed}")
    load_weights(network, state, source=str(source))
    changed = {name: value for name, value in (preprocess or {}).items() if value is not None}
    inputs, whose = _preprocess(found, network.image_size)
    inputs = replace(inputs, **changed)
    words = f"{input_in_words(inputs)}; geometry, resize, resample, orientation, mean and std set another"
    notes.append(f"input {', changed from' if changed else 'as'} {whose}: {words}")
    if to_file:
        beside = [f"quirks {', '.join(network.quirks)}"] if network.quirks else []
        notes.append(f"the file does not hold {', '.join(['what its input is', *beside])}")
        with working(f"writing {target}"):
            write_arrays(target, _named(state, found.preset, target_format))
    else:
        origin = Origin(data=f"an unknown set, converted from {source}", paddle=paddle.__version__)
        with working(f"writing {target}"):
            save_checkpoint(target, network, Metadata(network.spec, names, inputs, origin))
    return Converted(found.preset, count, found.file_format, inputs, network.quirks, tuple(notes))


@dataclass(frozen=True)
class _Found:
    """Our state dict out of a source; the metadata if it is a checkpoint of ours."""

    file_format: str
    preset: str
    state: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    metadata: Optional[Metadata] = None

    @property
    def num_classes(self) -> int:
        return len(self.state[f"{layers(self.preset)[-1].key}.bias"])


def _read(source: Path, preset: Optional[str], source_format: Optional[str], key: Optional[str]) -> _Found:
    if os.path.isdir(source):
        network, metadata = load_checkpoint(source)
        if preset not in (None, metadata.model.preset) or source_format not in (None, "paddle") or key is not None:
            raise UserError(
                f"{source}: is a checkpoint of {metadata.model.preset}: name no other preset, format or key"
            )
        state = {name: value.numpy() for name, value in network.state_dict().items()}
        return _Found("paddle", metadata.model.preset, state, metadata=metadata)
    file = read_arrays(source, source_format, key=key)
    layout = LAYOUTS[file.file_format]
    weights = pair(file.arrays, layout, source=str(source))
    preset = choose_preset(weights, preset, source=str(source), usual=layout.preset)
    notes = list(file.notes)
    scaled = {layer.name: factor for layer in layers(preset) if (factor := dropout_factor(layer, layout)) != 1}
    if scaled:
        halved = 0.5 in scaled.values()
        notes.append(
            f"{' and '.join(scaled)} are {'halved' if halved else 'doubled'}: "
            f"{'PaddleClas' if halved else preset} at inference halves what dropout gives them"
        )
    if layout.bgr:
        notes.append("conv1 is turned from BGR to RGB")
    return _Found(file.file_format, preset, to_state(weights, preset, layout), tuple(notes))


# What each source does between a file and the network; all decode in full.
# Caffe: tools/convert_imageset, by OpenCV of 2014 (2.4), which did not look at EXIF. PaddleClas:
# ppcls/data/preprocess/ops/operators.py, by OpenCV, whose `imdecode` turns.
# torchvision: transforms/_presets.py, on Pillow images.
_CAFFE: dict[str, Any] = {"geometry": "squash", "resize": 256, "resample": "opencv", "orientation": "stored"}
_PADDLECLAS: dict[str, Any] = {"geometry": "paddleclas", "resize": 256, "resample": "opencv", "orientation": "exif"}
_TORCHVISION: dict[str, Any] = {"geometry": "torchvision", "resize": 256, "orientation": "stored"}


def _preprocess(found: _Found, size: int) -> tuple[Preprocess, str]:
    """What the network's input is: known of a checkpoint, else what is usual; and whose that is."""
    if found.metadata is not None:
        return found.metadata.preprocess, "the checkpoint has it"
    if LAYOUTS[found.file_format].bgr:
        usual = Preprocess(size, CAFFE_MEAN, CAFFE_STD, **_CAFFE, draft=False)
        return usual, "Caffe has it, pixels 0..255 less the mean pixel"
    if found.file_format == "torch":
        return Preprocess(size, IMAGENET_MEAN, IMAGENET_STD, **_TORCHVISION, draft=False), "torchvision has it"
    if found.file_format == "paddleclas":
        return Preprocess(size, IMAGENET_MEAN, IMAGENET_STD, **_PADDLECLAS, draft=False), "PaddleClas has it"
    ours = DataConfig()
    usual = Preprocess(size, ours.mean, ours.std, orientation=ours.orientation, draft=ours.draft)
    return usual, "the recipes here have it, for nothing is known of it"


def _check_target(target: Path, given: Optional[str]) -> str:
    """The format to write: what the suffix says, a checkpoint folder where there is none."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise UserError(f"{target}: is there already: name another, or remove it")
    if target.name.lower().endswith(".weights.h5"):
        raise UserError(f"{target}: .weights.h5 is another layout: name it .h5, Keras reads that")
    if target.suffix.lower() not in WRITERS:
        if target.suffix and given != "paddle":
            raise UserError(f"{target}: not one of {', '.join(WRITERS)}; a folder's format is paddle: say so")
        usual = "paddle"
    else:
        usual, _ = WRITERS[target.suffix.lower()]
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
