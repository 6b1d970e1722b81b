"""Learning-rate schedules."""

import logging
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from paddle.callbacks import Callback, LRScheduler
from paddle.optimizer import lr

from paddle_alexnet.config.schema import ScheduleConfig
from paddle_alexnet.system.typed_values import check_types
from paddle_alexnet.training.parameter_groups import ParameterRule

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a run; `callbacks`, if any, must be passed to `paddle.Model.fit`."""

    rate: Union[float, lr.LRScheduler]  # for the optimizer
    callbacks: tuple[Callback, ...]
    description: str  # such as `×0.1 after epochs 30, 60`


def build_schedule(
    config: ScheduleConfig, rules: Sequence[ParameterRule], *, learning_rate: float, epochs: int, steps: int
) -> Schedule:
    """Build the schedule of a config for `epochs` of `steps` each; `rules` have the parameters' own rates."""
    own_rates = [rule for rule in rules if rule.own_rate]
    own: tuple[Callback, ...] = (OwnRates(own_rates),) if own_rates else ()
    if config.name == "plateau":
        lower = LowerOnPlateau(factor=config.factor, patience=config.patience)
        return Schedule(learning_rate, (lower, *own), f"×{config.factor:g} on plateau")
    if config.name == "constant" and not config.warmup_epochs:
        return Schedule(learning_rate, own, "constant")
    in_epoch = steps if config.per == "step" else 1  # changes of the rate

    def factor(done: int) -> float:
        return factor_after(done, config, total=epochs * in_epoch, warmup=config.warmup_epochs * in_epoch)

    per_step = config.per == "step"
    changes = LRScheduler(by_step=per_step, by_epoch=not per_step)  # Paddle's default is after every step
    return Schedule(lr.LambdaDecay(learning_rate, factor), (changes, *own), _in_words(config))


def factor_after(done: int, config: ScheduleConfig, *, total: int, warmup: int) -> float:
    """Return the factor of the initial rate after `done` of `total` epochs or steps, `warmup` of them warm-up."""
    if done < warmup:
        return (done + 1) / warmup
    if config.name == "cosine":
        return (1 + math.cos(math.pi * min(1, (done - warmup) / max(1, total - warmup)))) / 2
    return float(config.factor ** bisect_right(config.milestones, done))


def _in_words(config: ScheduleConfig) -> str:
    words = {
        "constant": "constant",
        "step": f"×{config.factor:g} after {config.per}s {', '.join(map(str, config.milestones))}",
        "cosine": f"cosine to 0 by the {config.per}",
    }[config.name]
    return f"{words}, from 0 in the first {config.warmup_epochs} epochs" if config.warmup_epochs else words


class LowerOnPlateau(Callback):
    """A callback that multiplies the rate by `factor` after more than `patience` epochs without a lower loss.

    The rule is that of PyTorch's `ReduceLROnPlateau` with a threshold of 0: any lower validation loss is an
    improvement, and a reduction restarts the count.

    Paddle's `ReduceLROnPlateau` (2.6.2, 3.3.1) has no effect: it assigns the optimizer's `_learning_rate`, which the
    updates do not read. `set_lr` works.
    """

    def __init__(self, *, factor: float, patience: int) -> None:
        super().__init__()
        self.factor, self.patience = factor, patience
        self.best, self.waited = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "patience": self.patience}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        state = check_types(dict[str, Union[int, float]], state)
        self.best, self.waited = state["best"], int(state["waited"])
        # States without it are of an earlier version, whose patience included the epoch that lowers the rate.
        self.patience = int(state.get("patience", self.patience - 1))

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if logs["loss"] < self.best:
            self.best, self.waited = logs["loss"], 0
            return
        self.waited += 1
        if self.waited > self.patience:
            optimizer, self.waited = self.model._optimizer, 0
            optimizer.set_lr(optimizer.get_lr() * self.factor)
            _log.info(f"validation loss on a plateau; learning rate reduced to {optimizer.get_lr():g}")


class OwnRates(Callback):
    """A callback that sets the learning rates of parameters that do not follow the schedule."""

    def __init__(self, rules: Sequence[ParameterRule]) -> None:
        super().__init__()
        self.rules = rules
        self.epoch = 0

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = check_types(dict[str, int], state)["epoch"]

    def on_train_batch_begin(self, step: int, logs: dict[str, Any]) -> None:
        common = self.model._optimizer.get_lr()
        for rule in self.rules:
            rate = rule.own_rate.in_epoch(self.epoch) if rule.own_rate else None
            if rate is not None:
                rule.parameter.optimize_attr["learning_rate"] = rate / common

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        self.epoch += 1
