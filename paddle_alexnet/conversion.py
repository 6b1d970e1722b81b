"""Conversion of weights between files and checkpoints of several frameworks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

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

# Mean pixel of Caffe's ilsvrc12 mean image, as RGB in 0..1.
CAFFE_MEAN = (122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Converted:
    """The result of a conversion."""

    preset: str
    num_classes: int
    file_format: str
    preprocess: Preprocess
    quirks: tuple[str, ...]
    notes: tuple[str, ...]  # for the user, one line each


@dataclass(frozen=True)
class ConversionOptions:
    """The options of a conversion that are seldom needed."""

    source_format: Optional[str] = None  # of a file; None: by its content or name
    target_format: Optional[str] = None  # None: by its name
    key: Optional[str] = None  # the name of one of several sets of weights in a file
    seed: int = 0  # of a new last layer
    quirks: Optional[Sequence[str]] = None  # of the network; None: the checkpoint's
    preprocess: Optional[Mapping[str, Any]] = None  # fields of `Preprocess` that differ from what is usual


def convert_weights(
    source: Union[str, os.PathLike[str]],
    target: Union[str, os.PathLike[str]],
    *,
    preset: Optional[str] = None,
    num_classes: Optional[int] = None,
    classes: Optional[Union[str, os.PathLike[str]]] = None,
    options: ConversionOptions = ConversionOptions(),
) -> Converted:
    """Read weights of any format, check them against a preset, and write them in another format.

    Args:
        source: File or checkpoint.
        target: File, or a new folder for a checkpoint that training can start from.
        preset: By default the one whose shapes match.
        num_classes: Size of a new last layer, drawn with `options.seed`, which seeds Paddle.
        classes: File with one class per line.

    Raises:
        UserError: The source is unreadable or does not match, or the target already exists.
    """
    source, target = user_path(source), user_path(target)
    classes = None if classes is None else user_path(classes)
    quirks = options.quirks
    target_format = _check_target(target, options.target_format)
    to_file = target.suffix.lower() in WRITERS
    if classes is not None and to_file:
        raise UserError(f"{target}: a file cannot store class names; omit the classes or choose a folder")
    with working(f"reading {source}"):
        found = _read(source, preset, options)
        check_finite(found.state, found.preset, source=str(source))
    count = found.num_classes if num_classes is None else num_classes
    if count < 1:
        raise UserError(f"num_classes: {count} is less than 1; choose another")
    if classes is not None:
        names = ClassList.read(classes)
    elif found.metadata is not None and num_classes is None:
        names = found.metadata.classes
    else:
        names = ClassList.unnamed(count)
    if len(names) != count:
        raise UserError(
            f"{classes}: has {len(names)} classes, the network {count}; "
            f"convert with num_classes={len(names)} (--num-classes {len(names)}), which draws a new last layer"
        )

    paddle.seed(options.seed)
    lrn = "auto"
    if found.metadata is not None and quirks is None:
        lrn, quirks = found.metadata.model.lrn, found.metadata.model.quirks
    network = AlexNet(found.preset, count, lrn, quirks=quirks or ())
    notes, state = list(found.notes), found.state
    if num_classes is not None:
        own, last = network.state_dict(), layers(found.preset)[-1]
        state = {**state, **{name: own[name].numpy() for name in (f"{last.key}.weight", f"{last.key}.bias")}}
        notes.append(f"{last.name} is a new layer of {count} classes, drawn with seed {options.seed}")
    load_weights(network, state, source=str(source))
    changed = {name: value for name, value in (options.preprocess or {}).items() if value is not None}
    inputs, whose = _preprocess(found, network.image_size)
    inputs = replace(inputs, **changed)
    words = f"{input_in_words(inputs)}; change it with geometry, resize, resample, orientation, mean and std"
    notes.append(f"input as {whose}{', with changes' if changed else ''}: {words}")
    if to_file:
        beside = [f"quirks {', '.join(network.quirks)}"] if network.quirks else []
        notes.append(f"the file does not store {' and '.join(['the preprocessing', *beside])}")
        with working(f"writing {target}"):
            write_arrays(target, _named(state, found.preset, target_format))
    else:
        origin = Origin(data=f"an unknown set, converted from {source}", paddle=paddle.__version__)
        with working(f"writing {target}"):
            save_checkpoint(target, network, Metadata(network.spec, names, inputs, origin))
    return Converted(found.preset, count, found.file_format, inputs, network.quirks, tuple(notes))


@dataclass(frozen=True)
class _Found:
    """A source's weights as our state dict, with metadata if the source is a checkpoint."""

    file_format: str
    preset: str
    state: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    metadata: Optional[Metadata] = None

    @property
    def num_classes(self) -> int:
        return len(self.state[f"{layers(self.preset)[-1].key}.bias"])


def _read(source: Path, preset: Optional[str], options: ConversionOptions) -> _Found:
    source_format, key = options.source_format, options.key
    if os.path.isdir(source):
        network, metadata = load_checkpoint(source)
        if preset not in (None, metadata.model.preset) or source_format not in (None, "paddle") or key is not None:
            raise UserError(f"{source}: is a checkpoint of {metadata.model.preset}; omit preset, format and key")
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
            f"{' and '.join(scaled)} are {'halved' if halved else 'doubled'}, "
            f"because {'PaddleClas' if halved else preset} halves their inputs after dropout at inference"
        )
    if layout.bgr:
        notes.append("conv1 is converted from BGR to RGB")
    return _Found(file.file_format, preset, to_state(weights, preset, layout), tuple(notes))


# Each framework's preprocessing, without draft decoding.
# Caffe: tools/convert_imageset, by OpenCV 2.4, which ignored EXIF. PaddleClas:
# ppcls/data/preprocess/ops/operators.py, by OpenCV, whose `imdecode` applies EXIF.
# torchvision: transforms/_presets.py, on Pillow images.
_CAFFE: dict[str, Any] = {"geometry": "squash", "resize": 256, "resample": "opencv", "orientation": "stored"}
_PADDLECLAS: dict[str, Any] = {"geometry": "paddleclas", "resize": 256, "resample": "opencv", "orientation": "exif"}
_TORCHVISION: dict[str, Any] = {"geometry": "torchvision", "resize": 256, "orientation": "stored"}


def _preprocess(found: _Found, size: int) -> tuple[Preprocess, str]:
    """Return the checkpoint's or the format's usual preprocessing, and its source."""
    if found.metadata is not None:
        return found.metadata.preprocess, "in the checkpoint"
    if LAYOUTS[found.file_format].bgr:
        usual = Preprocess(size, CAFFE_MEAN, CAFFE_STD, **_CAFFE, draft=False)
        return usual, "in Caffe (pixels 0..255 minus the mean pixel)"
    if found.file_format == "torch":
        return Preprocess(size, IMAGENET_MEAN, IMAGENET_STD, **_TORCHVISION, draft=False), "in torchvision"
    if found.file_format == "paddleclas":
        return Preprocess(size, IMAGENET_MEAN, IMAGENET_STD, **_PADDLECLAS, draft=False), "in PaddleClas"
    ours = DataConfig()
    usual = Preprocess(size, ours.mean, ours.std, orientation=ours.orientation, draft=ours.draft)
    return usual, "in this package's recipes, because the file does not tell"


def _check_target(target: Path, given: Optional[str]) -> str:
    """Return the format to write, by the suffix; a folder is a checkpoint."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise UserError(f"{target}: already exists; choose another target, or remove it")
    if target.name.lower().endswith(".weights.h5"):
        raise UserError(f"{target}: .weights.h5 is another format; name it .h5, which Keras reads")
    if target.suffix.lower() not in WRITERS:
        if target.suffix and given != "paddle":
            raise UserError(f"{target}: suffix is not one of {', '.join(WRITERS)}; for a folder, set the format paddle")
        usual = "paddle"
    else:
        usual, _ = WRITERS[target.suffix.lower()]
    if given not in (None, usual):
        raise UserError(f"{target}: the suffix is {usual}'s, not {given}'s; rename it or change the format")
    return usual


def _named(state: Mapping[str, np.ndarray], preset: str, target_format: str) -> dict[str, np.ndarray]:
    """Return arrays in a framework's layout by the framework's names."""
    arrays: dict[str, np.ndarray] = {}
    for layer, (weight, bias) in from_state(state, preset, LAYOUTS[target_format]).items():
        if target_format == "keras":
            names = f"{layer.name}/kernel:0", f"{layer.name}/bias:0"
        else:
            key = layer.torch_key if target_format == "torch" else layer.key
            names = f"{key}.weight", f"{key}.bias"
        arrays.update(zip(names, (weight, bias)))
    return arrays
