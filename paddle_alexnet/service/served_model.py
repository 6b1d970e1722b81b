"""Loading of the served model."""

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
    """The predictor, and the network with the same weights for explanations, if available."""

    predictor: Predictor
    network: Optional[AlexNet]


def open_served(path: Union[str, os.PathLike[str], ResolvedModel], *, device: str = "auto", **how: Any) -> Served:
    """Open a model for the service.

    A run's exported model is explained with the run's best checkpoint if both are of the same epoch. `how` are further
    arguments of `Predictor`.
    """
    use_device(device)
    model = resolve_model(path)
    looked_into = model.checkpoint_of(answering_folder(model))
    predictor = Predictor(model, device=device, **how)
    network = load_checkpoint(looked_into)[0] if looked_into else None
    _give_back_memory()
    return Served(predictor, network)


def _give_back_memory() -> None:
    """Return the memory of reading files, two thirds of the total, which glibc keeps after `system.bootstrap`."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
