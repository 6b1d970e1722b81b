"""Training states: checkpoints from which a resumed run is bit-identical to an uninterrupted one.

Random number generators are not stored: seed, epoch and step (`SeedStep`) or image (augmentation) determine them.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import paddle
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as checked_dataclass

from paddle_alexnet.config.recipe import current_keys
from paddle_alexnet.data.table import ImageFiles
from paddle_alexnet.runs.checkpoint import WEIGHTS, read_pdparams
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import read_model, write_model
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.typed_values import check_types

STATE, OPTIMIZER, AVERAGE = "state.json", "optimizer.npz", "average.npz"
SCHEMA = 2  # 1 had no `files`
READABLE = (1, SCHEMA)


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=True))
class TrainState:
    """The progress of a run, as JSON values."""

    epoch: PositiveInt  # of the next step, from 1
    step: NonNegativeInt  # finished batches of this epoch
    finished: bool  # all epochs done, or stopped early
    config: dict[str, Any]  # the recipe
    data: str  # the `fingerprint` of the table
    learning_rate: Optional[NonNegativeFloat]  # None if a scheduler has it
    scheduler: Optional[dict[str, Union[int, float]]]
    callbacks: dict[str, dict[str, Any]]  # states by class
    history: list[dict[str, Any]]  # the finished epochs
    scaler: Optional[dict[str, Union[bool, int, float]]] = None  # of the loss, in mixed precision
    files: Optional[ImageFiles] = None  # None for runs of older versions
    schema: int = SCHEMA


@dataclass(frozen=True)
class Saved:
    """A training state that was read."""

    path: Path
    metadata: Metadata
    state: TrainState
    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    average: dict[str, np.ndarray]  # of the weights; may be empty


def save_state(
    place: Path,
    weights: Mapping[str, paddle.Tensor],
    metadata: Metadata,
    state: TrainState,
    optimizer: Mapping[str, Any],
    average: Mapping[str, Any],
) -> None:
    """Write a checkpoint with its state, which atomically replaces the previous one.

    Raises:
        UserError: The folder cannot be written; the previous state is unchanged.
    """

    def fill(folder: Path) -> None:
        paddle.save(dict(weights), str(folder / WEIGHTS))
        _save_arrays(folder / OPTIMIZER, optimizer)
        if average:
            _save_arrays(folder / AVERAGE, average)
        (folder / STATE).write_text(json.dumps(asdict(state), default=float), encoding="utf-8")

    write_model(place, replace(metadata, kind="checkpoint"), fill, aside=True)


def read_state(place: Path) -> Saved:
    """Read and check a state. Raises UserError if it is missing or damaged."""
    model = read_model(place)
    for name in (STATE, OPTIMIZER, WEIGHTS):
        if name not in model.files:
            raise UserError(f"{place}: checkpoint has no {name} to resume from; use it as model.weights")
    source = place / STATE
    try:
        values = json.loads(model.files[STATE])
        if values.get("schema") not in READABLE:
            raise UserError(
                f"{source}: has schema {values.get('schema')!r:.20}, this version reads {SCHEMA}; upgrade the package"
            )
        state = check_types(TrainState, {**values, "config": current_keys(values["config"])})
        source = place / OPTIMIZER
        optimizer = _arrays(model.files[OPTIMIZER])
        source = place / AVERAGE
        average = _arrays(model.files[AVERAGE]) if AVERAGE in model.files else {}
    except UserError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise not_a_state(source, error) from None
    weights = read_pdparams(io.BytesIO(model.files[WEIGHTS]), source=place / WEIGHTS)
    return Saved(place, model.metadata, state, weights, optimizer, average)


def not_a_state(source: Path, error: Exception) -> UserError:
    """Return the error for a file that `save_state` did not write."""
    reason = "".join(c if c.isprintable() else " " for c in f"{type(error).__name__}: {error}"[:200])
    return UserError(f"{source}: is not the state of a run ({reason}); resume from another checkpoint, or train anew")


def _save_arrays(file: Path, values: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in values.items()}
    np.savez(file, **arrays)


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
