"""Resuming: capture and restore of a run's state, and checks that a run may be resumed from a state."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Optional, Protocol

import numpy as np
import paddle
from paddle.callbacks import Callback

from paddle_alexnet.config.recipe import flatten_config
from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.dataset import ImageDataset, hash_of_content
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import ImageFiles
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import ModelSpec
from paddle_alexnet.runs.checkpoint import check_weights, load_weights
from paddle_alexnet.runs.run_folder import RunFolder, run_of
from paddle_alexnet.runs.train_state import (
    AVERAGE,
    OPTIMIZER,
    STATE,
    Saved,
    TrainState,
    not_a_state,
    read_state,
)
from paddle_alexnet.system.errors import MissingFileError, UserError
from paddle_alexnet.system.typed_values import check_types
from paddle_alexnet.training.history import Epoch, History
from paddle_alexnet.training.model import in_full_precision

_log = logging.getLogger(__name__)

_MASTER = "master_weights/"  # prefix of an optimizer's float32 weights, in mixed precision

# Keys that may differ in a resumed run: paths, speed, the end. Network, images and classes are compared themselves.
_FREE = {
    "output",
    "device",
    "model.kernels",
    "model.lrn",
    "model.weights",
    "data.root",
    "data.csv",
    "data.classes",
    "data.cache_folder",
    "data.decoder",
    "data.verify",
    "data.fault_limit",
    "data.workers",
    "train.cudnn_search",
    "train.epochs",
    "train.patience",
    "train.checkpoint_steps",
    "train.keep_checkpoints",
    "train.report",
}


class AveragedWeights(Protocol):
    """An average of the weights, and the trained ones while the network has the average."""

    average: dict[str, paddle.Tensor]
    trained: Optional[dict[str, paddle.Tensor]]

    def set_average(self, arrays: dict[str, np.ndarray]) -> None: ...


@dataclass
class LiveRun:
    """The parts of a run that change during training; all others follow from the config and the data."""

    config: Config
    data: str  # fingerprint of the table
    files: ImageFiles
    network: AlexNet
    optimizer: paddle.optimizer.Optimizer
    scaler: Optional[paddle.amp.GradScaler]  # of the loss, in mixed precision
    average: Optional[AveragedWeights]
    loader: Loader  # of the train split
    history: History
    callbacks: Sequence[Callback]  # those with a state have `state_dict` and `set_state_dict`
    _restored: dict[str, Any] = field(default_factory=dict)  # the optimizer's arrays, until its first step

    def capture(self, *, step: int, finished: bool = False) -> tuple[TrainState, dict[str, Any]]:
        """Return the run's state after `step` batches of an epoch, and the optimizer's tensors, not copied."""
        optimizer = dict(self.optimizer.state_dict())
        scheduler = optimizer.pop("LR_Scheduler", None)
        for name, master in optimizer.pop("master_weights", {}).items():
            optimizer[f"{_MASTER}{name}"] = master
        self._restored = {} if optimizer else self._restored
        state = TrainState(
            epoch=len(self.history.epochs) + 1,
            step=step,
            finished=finished,
            config=flatten_config(self.config),
            data=self.data,
            files=self.files,
            learning_rate=None if scheduler else float(self.optimizer.get_lr()),
            scheduler=scheduler,
            scaler=self.scaler.state_dict() if self.scaler else None,
            callbacks={type(each).__name__: each.state_dict() for each in self._counting()},
            history=[asdict(epoch) for epoch in self.history.epochs],
        )
        return state, optimizer or self._restored

    def weights(self) -> dict[str, paddle.Tensor]:
        """Return the trained weights, float32, also while the network has their average."""
        if self.average and self.average.trained is not None:
            return self.average.trained
        return in_full_precision(self.network, self.optimizer).state_dict()

    def restore(self, saved: Saved) -> None:
        """Restore the run from a state, or raise UserError if the state is damaged or of another data set."""
        check_same_preprocess(saved, self.loader.preprocess)
        load_weights(self.network, saved.weights, source=str(saved.path))
        if self.average:
            check_weights(self.network, saved.average, source=str(saved.path / AVERAGE))
        self._check_optimizer(saved)
        try:
            self._restore(saved)
        except UserError:
            raise
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise not_a_state(saved.path / STATE, error) from None

    def _restore(self, saved: Saved) -> None:
        state = saved.state
        scheduler = {} if state.scheduler is None else {"LR_Scheduler": state.scheduler}
        self._restored = saved.optimizer
        masters = {n[len(_MASTER) :]: value for n, value in saved.optimizer.items() if n.startswith(_MASTER)}
        arrays = {name: value for name, value in saved.optimizer.items() if not name.startswith(_MASTER)}
        self.optimizer.set_state_dict({**arrays, **({"master_weights": masters} if masters else {}), **scheduler})
        if self.scaler and state.scaler:
            self.scaler.load_state_dict({**state.scaler, "scale": np.array([state.scaler["scale"]], np.float32)})
        if self.average:
            self.average.set_average(saved.average)
        if state.learning_rate is not None:
            self.optimizer.set_lr(state.learning_rate)
        if state.step > len(self.loader):
            raise ValueError(f"{state.step} steps in an epoch of {len(self.loader)}")
        self.loader.epoch, self.loader.first = state.epoch - 1, state.step
        self.history.epochs[:] = epochs_of(saved)
        for each in self._counting():
            own = type(each).__module__.startswith(f"{__package__}.")
            if own or type(each).__name__ in state.callbacks:  # a user's callback may be new
                each.set_state_dict(state.callbacks[type(each).__name__])

    def _check_optimizer(self, saved: Saved) -> None:
        """Raise UserError if an array of the optimizer does not match its parameter; Paddle would raise in a step."""
        shapes = {parameter.name: tuple(parameter.shape) for parameter in self.network.parameters()}
        for name, array in saved.optimizer.items():
            of = [shape for key, shape in shapes.items() if f"{name.removeprefix(_MASTER)}_".startswith(f"{key}_")]
            if array.dtype.kind != "f" or (array.size != 1 and array.shape not in of) or not of:
                error = ValueError(f"{name} is {array.dtype} {list(array.shape)}")
                raise not_a_state(saved.path / OPTIMIZER, error)

    def _counting(self) -> list[Any]:
        return [each for each in self.callbacks if hasattr(each, "state_dict")]


def check_same_run(saved: Saved, config: Config, data: str, spec: ModelSpec) -> None:
    """Check that a run of a config, data set and network can resume bit-identically from a state.

    Raises:
        UserError: It cannot; the message names the key.
    """
    state, now, default = saved.state, flatten_config(config), flatten_config(Config())
    for key, value in now.items():
        before = state.config.get(key, default[key])
        if key not in _FREE and _plain(value) != _plain(before):
            raise UserError(
                f"{saved.path}: was trained with {key}={_shown(before)}, not {_shown(value)}; keep {key} as it was, "
                f"or start a new run with model.weights={saved.path}"
            )
    if saved.metadata.model != spec:
        before = saved.metadata.model
        raise UserError(f"{saved.path}: has another network ({before}, not {spec}); set model.lrn={before.lrn}")
    if state.data != data:
        raise UserError(
            f"{saved.path}: was trained on other images, labels or splits than those of data.root and data.csv; "
            f"set data.root and data.csv as before, or start a new run with model.weights={saved.path}"
        )
    if config.train.epochs < state.epoch:
        raise UserError(
            f"{saved.path}: has reached epoch {state.epoch - 1 + bool(state.step)}; set a larger train.epochs"
        )
    length = state.config.get("train.epochs", config.train.epochs)
    if config.schedule.name == "cosine" and length != config.train.epochs:
        _log.warning(
            f"schedule.name=cosine: the run began with {length} epochs and resumes with {config.train.epochs}; its "
            "learning rates differ from those of an uninterrupted run"
        )
    waited = History(epochs_of(saved)).waited
    if 0 < config.train.patience <= waited:
        raise UserError(
            f"{saved.path}: stopped after {waited} epochs without a better validation loss; increase train.patience"
        )


def epochs_of(saved: Saved) -> list[Epoch]:
    """Return the finished epochs of a state, or raise UserError if they have wrong types or are not in order."""
    try:
        epochs = check_types(list[Epoch], saved.state.history)
        if [epoch.epoch for epoch in epochs] != list(range(1, saved.state.epoch)):
            raise ValueError(f"history: not epochs 1 to {saved.state.epoch - 1}")
    except ValueError as error:
        raise not_a_state(saved.path / STATE, error) from None
    return epochs


def check_same_preprocess(saved: Saved, preprocess: Preprocess) -> None:
    """Raise UserError if the preprocessing, including the measured mean, differs from the state's."""
    if saved.metadata.preprocess != preprocess:
        raise UserError(
            f"{saved.path}: was trained on other images than those in data.root, which have another mean or std; set "
            f"data.root as before, or start a new run with model.weights={saved.path}"
        )


def check_same_sizes(saved: Saved, files: ImageFiles) -> None:
    """Raise UserError if the image files have other sizes than in the state."""
    before = saved.state.files
    if before is not None and before.sizes != files.sizes:
        raise _other_images(saved, "their files have other sizes")


def identify_images(
    saved: Optional[Saved], files: ImageFiles, sets: Sequence[ImageDataset], *, workers: int
) -> ImageFiles:
    """Return `files` with the hash of their content, as far as it is known, and compare it with a resumed run's.

    A copied or restored data set is the same: if the modification times are not those of the saved run, the content
    decides, and is read if it was not. If the run did not record the content, a warning is logged.

    Raises:
        UserError: The files have another content.
    """
    before = saved.state.files if saved else None
    changed = before is not None and before.times != files.times
    known = before.content if before else None
    content = hash_of_content(sets, read=changed and known is not None, workers=workers)
    if saved and changed and known is None:
        _log.warning(
            f"the image files in data.root were modified or copied after {saved.path} was saved, which has their sizes "
            "but no hash of their content; resume only if the images are the same"
        )
    elif saved and changed and content != known:
        raise _other_images(saved, "their files have the same sizes, but another content")
    return replace(files, content=content or (None if changed else known))


def _other_images(saved: Saved, why: str) -> UserError:
    return UserError(
        f"{saved.path}: was trained on other images than those in data.root ({why}); set data.root as before, or start "
        f"a new run with model.weights={saved.path}"
    )


def find_state(path: Path) -> Saved:
    """Return the newest state of a run, or that of one of its checkpoints.

    Raises:
        UserError: There is no state, or it is damaged.
    """
    run = RunFolder(run_of(path))
    place = run.last if run.path.resolve() == path.expanduser().resolve() else path.expanduser()
    if not run.is_run():
        raise MissingFileError(f"{path}: run not found; name a run folder, which is its output")
    if not place.is_dir():
        raise MissingFileError(f"{path}: state not found, the run ended before saving one; start a new run")
    try:
        return read_state(place)
    except UserError as error:
        others = [str(state) for state in run.earlier() if state.resolve() != place.resolve()]
        raise UserError(f"{error}" + (f"; an earlier state is {others[-1]}" if others else "")) from None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
