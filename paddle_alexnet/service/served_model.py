"""The model that is served: what answers, and what can be looked into."""

import ctypes
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from paddle_alexnet.inference.answering import find_answering
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.model_folder import read_metadata
from paddle_alexnet.runs.run_folder import RunFolder, run_of
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError


@dataclass(frozen=True)
class Served:
    """`predictor` answers; `network`, with the same weights, is looked into where there is one."""

    predictor: Predictor
    network: Optional[AlexNet]


def open_served(path: Union[str, os.PathLike[str]], *, device: str = "auto", **how: Any) -> Served:
    """The model that a path means, opened as `Predictor` has it.

    A run answers by its exported model where that is faster, see `find_answering`, and an exported model of a run is
    looked into by the best checkpoint, as long as both are of the same epoch. Raises UserError if there is no whole
    model.
    """
    use_device(device)
    answering = find_answering(path)
    inside = answering.parent.name == "checkpoints"
    run = RunFolder(run_of(answering) if inside else answering.parent)
    looked_into = None
    if read_metadata(answering).kind == "checkpoint":
        looked_into = answering
    elif answering in (run.inference, run.onnx) and _same_epoch(run.best, answering):
        looked_into = run.best
    predictor = Predictor(answering, device=device, **how)
    network = load_checkpoint(looked_into)[0] if looked_into else None
    _give_back_memory()
    return Served(predictor, network)


def _give_back_memory() -> None:
    """Give the system back what reading the files took, two thirds of all: `before_paddle` has glibc keep it."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _same_epoch(checkpoint: Path, exported: Path) -> bool:
    try:
        first, second = (read_metadata(model).origin for model in (checkpoint, exported))
    except UserError:
        return False
    return (first.epoch, first.val_loss) == (second.epoch, second.val_loss)
