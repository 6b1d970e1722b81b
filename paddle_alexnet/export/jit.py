"""The inference model: written, loaded back, compared with the live network, then put in place."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.base import core
from paddle.static import InputSpec

from paddle_alexnet.errors import UserError
from paddle_alexnet.export.padding import with_explicit_padding
from paddle_alexnet.inference.live import LiveNetwork
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import writing_model

TOLERANCE = 1e-5  # of the largest logit, or of 1 where all are smaller

_log = logging.getLogger(__name__)


def with_lrn(network: AlexNet, lrn: str) -> AlexNet:
    """The same network, with the same weights and in evaluation mode, on another LRN backend."""
    _log.info(f"LRN backend {network.lrn} cannot be exported here: swapped for {lrn}, which computes the same")
    twin = AlexNet.build(replace(network.spec, lrn=lrn))
    twin.set_state_dict(network.state_dict())
    twin.eval()
    return twin


def export(network: AlexNet, metadata: Metadata, place: Path) -> float:
    """Export a network as a `paddle.jit` inference model, and return its difference to the network.

    The folder holds the program and the weights, `model.*`, and `metadata.json`. Input is float32
    [N, 3, S, S], output logits [N, num_classes]. Raises UserError if the exported model's logits
    differ from the network's by more than TOLERANCE; nothing is put in place then.
    """
    with exporting(network, metadata, place) as difference:
        return difference


@contextmanager
def exporting(network: AlexNet, metadata: Metadata, place: Path) -> Iterator[float]:
    """`export`, with the exported model put in place at the end of the `with`: as one with what is written there."""
    size = metadata.preprocess.image_size
    difference = 0.0
    lrn = choose_backend(network.lrn, job="jit")
    traced = with_explicit_padding(network if lrn == network.lrn else with_lrn(network, lrn))

    def fill(folder: Path) -> None:
        nonlocal difference
        spec = InputSpec([None, 3, size, size], "float32", "image")
        with _scopes_released():
            paddle.jit.save(traced, str(folder / "model"), input_spec=[spec])
        image = np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32)
        live = LiveNetwork(network)(image)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        exported = PaddleInference(files, source=folder)(image)
        difference = float(np.abs(exported - live).max() / max(1.0, np.abs(live).max()))
        if not difference <= TOLERANCE:  # also where it is not a number
            raise UserError(f"{place}: the exported model differs from the network by {difference:.1e}; not kept")

    training = network.training
    network.eval()
    try:
        model = replace(metadata.model, lrn=lrn)
        with writing_model(place, replace(metadata, kind="inference", model=model), fill):
            yield difference
    finally:
        if training:
            network.train()


@contextmanager
def _scopes_released() -> Iterator[None]:
    """Let go of the scopes that `paddle.jit.save` makes: Paddle keeps each, and the weights in it, for ever."""
    make, made = core.Scope, []

    def remembered() -> Any:
        made.append(make())
        return made[-1]

    core.Scope = remembered
    try:
        yield
    finally:
        core.Scope = make
        for scope in made:
            scope._remove_from_pool()
