"""The model that is served: what answers, and what can be looked into."""

import ctypes
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Optional, Union

from paddle_alexnet.inference.predictor import Predictor, answering_folder
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.resolve import ResolvedModel, resolve_model
from paddle_alexnet.system.device import use_device


@dataclass(frozen=True)
class Served:
    """`predictor` answers; `network`, with the same weights, is looked into where there is one."""

    predictor: Predictor
    network: Optional[AlexNet]


def open_served(path: Union[str, os.PathLike[str], ResolvedModel], *, device: str = "auto", **how: Any) -> Served:
    """The model that a path means, opened as `Predictor` has it.

    A run answers by its exported model where that is faster, see `answering_folder`, and an exported model of a run is
    looked into by the best checkpoint, as long as both are of the same epoch. Raises UserError if there is no whole
    model.
    """
    use_device(device)
    model = resolve_model(path)
    looked_into = model.checkpoint_of(answering_folder(model))
    predictor = Predictor(model, device=device, **how)
    network = load_checkpoint(looked_into)[0] if looked_into else None
    _give_back_memory()
    return Served(predictor, network)


def _give_back_memory() -> None:
    """Give the system back what reading the files took, two thirds of all: `before_paddle` has glibc keep it."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
