"""From a file of weights to another: the way of one conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import paddle

from paddle_alexnet.artifact import Metadata
from paddle_alexnet.checkpoint import load_checkpoint, load_weights, save_checkpoint
from paddle_alexnet.config import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.transforms import Preprocess
from paddle_alexnet.errors import UserError
from paddle_alexnet.names import one_of
from paddle_alexnet.network import AlexNet
from paddle_alexnet.weights.files import WRITERS, read_arrays, write_arrays
from paddle_alexnet.weights.layout import LAYOUTS, choose_preset, from_state, layers, pair, to_state

# Pixels 0..255 less the mean pixel of Caffe's ilsvrc12 mean image, here as RGB of values in 0..1.
CAFFE_MEAN = (122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


@dataclass(frozen=True)
class Converted:
    """What was converted; `notes` are what a user has to know of it, a line each."""

    network: AlexNet
    metadata: Metadata
    file_format: str
    notes: tuple[str, ...]


def unnamed_classes(count: int) -> ClassList:
    """The class list of weights that come without one."""
    return ClassList(tuple(f"class {index}" for index in range(count)), (None,) * count)


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
    last layer by `seed`, which also seeds Paddle. `classes` is a file with one class a line.

    Raises UserError if the source cannot be read, does not fit or has other classes, or if there is
    something at the target already.
    """
    target_format = _target_format(target, target_format)
    names = ClassList.read(classes) if classes else None
    notes = []
    if source.is_dir():
        ...
