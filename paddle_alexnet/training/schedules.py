"""Learning-rate schedules by name: what the optimizer is given, what changes it during training, and both in words."""

import logging
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from paddle.callbacks import Callback, LRScheduler
from paddle.optimizer import lr

from paddle_alexnet.config.schema import OptimizerConfig, ParameterGroup, ScheduleConfig
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.typed_values import check_types
from paddle_alexnet.training.optimizers import groups_of, last, named_parameters

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a run. Add `callbacks` to `paddle.Model.fit`, which may be empty."""

    rate: Union[float, lr.LRScheduler]  # for the optimizer
    callbacks: tuple[Callback, ...]
    description: str  # such as `×0.1 after epochs 30, 60`


def build_schedule(
    config: ScheduleConfig, optimizer: OptimizerConfig, network: AlexNet, *, epochs: int, steps: int
) -> Schedule:
    """The schedule of a recipe for so many epochs of so many steps, and what some parameters have of their own."""
    own = _own_rates(network, optimizer)
    if config.name == "plateau":
        lower = LowerOnPlateau(factor=config.factor, patience=config.patience)
        return Schedule(optimizer.learning_rate, (lower, *own), f"×{config.factor:g} on plateau")
    if config.name == "constant" and not config.warmup_epochs:
        return Schedule(optimizer.learning_rate, own, "constant")
    in_epoch = steps if config.per == "step" else 1  # changes of the rate

    def factor(done: int) -> float:
        return factor_after(done, config, total=epochs * in_epoch, warmup=config.warmup_epochs * in_epoch)

    per_step = config.per == "step"
    changes = LRScheduler(by_step=per_step, by_epoch=not per_step)  # by itself Paddle would change it after every step
    return Schedule(lr.LambdaDecay(optimizer.learning_rate, factor), (changes, *own), _in_words(config))


def factor_after(done: int, config: ScheduleConfig, *, total: int, warmup: int) -> float:
    """What the initial rate is multiplied by after `done` of `total` epochs or steps, of which `warmup` warm up."""
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
    """Multiply the optimizer's rate by `factor` after more than `patience` epochs in a row without a lower loss.

    The rule of PyTorch's `ReduceLROnPlateau` with a threshold of 0: any lower validation loss is an improvement, and
    after a reduction the epochs are counted anew. With a patience of 0 the first epoch without one lowers the rate.

    Paddle's `ReduceLROnPlateau` (2.6.2, 3.3.1) has no effect: it assigns the optimizer's `_learning_rate`, which
    `get_lr` reads but no update does. `set_lr` reaches the updates.
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
        # A state without it is of a run whose patience counted the epoch that lowers the rate too.
        self.patience = int(state.get("patience", self.patience - 1))

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if logs["loss"] < self.best:
            self.best, self.waited = logs["loss"], 0
            return
        self.waited += 1
        if self.waited > self.patience:
            optimizer, self.waited = self.model._optimizer, 0
            optimizer.set_lr(optimizer.get_lr() * self.factor)
            _log.info(f"validation loss on a plateau: learning rate {optimizer.get_lr():g} from now on")


class OwnRates(Callback):
    """Give some parameters their own rate in each epoch, whatever that of the others becomes."""

    def __init__(self, rules: Mapping[str, "OwnRate"], network: AlexNet) -> None:
        super().__init__()
        self.rules, self.parameters = rules, dict(named_parameters(network))
        self.epoch = 0

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = check_types(dict[str, int], state)["epoch"]

    def on_train_batch_begin(self, step: int, logs: dict[str, Any]) -> None:
        common = self.model._optimizer.get_lr()
        for name, rule in self.rules.items():
            rate = rule.in_epoch(self.epoch)
            if rate is not None:
                self.parameters[name].optimize_attr["learning_rate"] = rate / common

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        self.epoch += 1


@dataclass(frozen=True)
class OwnRate:
    """The rate of a parameter: constant, or that of the schedule, until its first milestone."""

    constant: Optional[float]
    milestones: tuple[int, ...]
    rates: tuple[float, ...]

    def in_epoch(self, epoch: int) -> Optional[float]:
        """The rate in an epoch, counted from 0; None where it is the schedule's."""
        passed = sum(milestone <= epoch for milestone in self.milestones)
        return self.rates[passed - 1] if passed else self.constant


def _own_rates(network: AlexNet, config: OptimizerConfig) -> tuple[Callback, ...]:
    rules = {}
    for name, _ in named_parameters(network):
        groups = groups_of(name, config)
        if rule := _own_rate(name, groups, config):
            rules[name] = rule
    return (OwnRates(rules, network),) if rules else ()


def _own_rate(name: str, groups: list[ParameterGroup], config: OptimizerConfig) -> Optional[OwnRate]:
    multiple = config.bias_learning_rate if name.endswith("bias") else 1.0
    initial = last(groups, "learning_rate") or config.learning_rate * multiple
    milestones = [group for group in groups if group.milestones]
    stays = any(not group.follows_schedule for group in groups)
    if not (milestones or stays):
        return None
    changes = milestones[-1] if milestones else ParameterGroup(name)
    return OwnRate(initial if stays else None, changes.milestones, changes.rates)
