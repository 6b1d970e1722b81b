"""Learning-rate schedules by name: what the optimiser is given, what changes it during training, and both in words."""

import logging
import math
from dataclasses import dataclass
from typing import Any, Union

from paddle.callbacks import Callback, LRScheduler
from paddle.optimizer import lr

from paddle_alexnet.config import ScheduleConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a run. Add `callbacks` to `paddle.Model.fit`, which may be empty."""

    rate: Union[float, lr.LRScheduler]  # for the optimiser
    callbacks: tuple[Callback, ...]
    description: str  # such as `×0.1 after epochs 30, 60`


def build_schedule(config: ScheduleConfig, learning_rate: float) -> Schedule:
    """The schedule of a recipe that starts at `learning_rate`."""
    return {"constant": _constant, "step": _step, "plateau": _plateau}[config.name](config, learning_rate)


def _constant(config: ScheduleConfig, learning_rate: float) -> Schedule:
    return Schedule(learning_rate, (), "constant")


def _step(config: ScheduleConfig, learning_rate: float) -> Schedule:
    """Multiply the rate by `factor` after each of the `milestones`, in epochs."""
    rate = lr.MultiStepDecay(learning_rate, list(config.milestones), config.factor)
    each_epoch = LRScheduler(by_step=False, by_epoch=True)  # without it Paddle steps a scheduler after every batch
    return Schedule(rate, (each_epoch,), f"×{config.factor:g} after epochs {', '.join(map(str, config.milestones))}")


def _plateau(config: ScheduleConfig, learning_rate: float) -> Schedule:
    """Multiply the rate by `factor` after `patience` epochs without a better validation loss."""
    lower = LowerOnPlateau(factor=config.factor, patience=config.patience)
    return Schedule(learning_rate, (lower,), f"×{config.factor:g} on plateau")


class LowerOnPlateau(Callback):
    """Multiply the optimiser's rate by `factor` each time that `patience` epochs pass without a lower validation loss.

    Paddle's `ReduceLROnPlateau` (2.6.2, 3.3.1) has no effect: it assigns the optimiser's `_learning_rate`, which
    `get_lr` reads but no update does. `set_lr` reaches the updates.
    """

    def __init__(self, *, factor: float, patience: int) -> None:
        super().__init__()
        self.factor, self.patience = factor, patience
        self.best, self.waited = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if logs["loss"] < self.best:
            self.best, self.waited = logs["loss"], 0
            return
        self.waited += 1
        if self.waited == self.patience:
            optimizer, self.waited = self.model._optimizer, 0
            optimizer.set_lr(optimizer.get_lr() * self.factor)
            _log.info(f"validation loss on a plateau: learning rate {optimizer.get_lr():g} from now on")
