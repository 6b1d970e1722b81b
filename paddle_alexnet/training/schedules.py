"""Learning-rate schedules by name: what the optimiser is given, what changes it during training, and both in words."""

from dataclasses import dataclass
from typing import Union

from paddle.callbacks import Callback, LRScheduler, ReduceLROnPlateau
from paddle.optimizer import lr

from paddle_alexnet.config import ScheduleConfig


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
    lower = ReduceLROnPlateau("loss", factor=config.factor, patience=config.patience, mode="min", min_delta=0)
    return Schedule(learning_rate, (lower,), f"×{config.factor:g} on plateau")
