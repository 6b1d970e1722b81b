"""Parameter groups: learning rate and weight decay per parameter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Optional

from paddle_alexnet.config.schema import OptimizerConfig, ParameterGroup
from paddle_alexnet.system.errors import UserError


@dataclass(frozen=True)
class OwnRate:
    """A learning rate that does not follow the schedule: constant, or set at milestones."""

    constant: Optional[float]  # until the first milestone; None follows the schedule
    milestones: tuple[int, ...]  # epochs
    rates: tuple[float, ...]

    def in_epoch(self, epoch: int) -> Optional[float]:
        """Return the rate in an epoch, counted from 0; None if it is the schedule's."""
        passed = sum(milestone <= epoch for milestone in self.milestones)
        return self.rates[passed - 1] if passed else self.constant


@dataclass(frozen=True)
class ParameterRule:
    """The learning rate and weight decay of one parameter."""

    name: str  # in a recipe, such as conv1.weight
    parameter: Any  # Paddle's tensor
    multiple: float  # of the recipe's learning rate
    own_rate: Optional[OwnRate]
    weight_decay: Optional[float]  # None: the recipe's


def resolve_groups(parameters: Iterable[tuple[str, Any]], config: OptimizerConfig) -> tuple[ParameterRule, ...]:
    """Resolve the groups of a config to one rule for each (name, parameter).

    If several groups match a parameter, the last one that sets a value wins.

    Raises:
        UserError: A group matches no parameter.
    """
    named = list(parameters)
    for group in config.groups:
        if not any(fnmatchcase(name, group.parameters) for name, _ in named):
            raise UserError(
                f"optimizer.groups: no parameter matches {group.parameters}; "
                f"use a pattern of {', '.join(name for name, _ in named)}"
            )
    return tuple(_rule(name, parameter, config) for name, parameter in named)


def _rule(name: str, parameter: Any, config: OptimizerConfig) -> ParameterRule:
    groups = [group for group in config.groups if fnmatchcase(name, group.parameters)]
    is_bias = name.endswith("bias")
    rate = _last_set(groups, "learning_rate")
    multiple = rate / config.learning_rate if rate else config.bias_learning_rate if is_bias else 1.0
    decay = _last_set(groups, "weight_decay")
    if decay is None and is_bias and not config.decay_biases:
        decay = 0.0
    own_rate = None
    changing = [group for group in groups if group.milestones]
    stays = any(not group.follows_schedule for group in groups)
    if changing or stays:
        changes = changing[-1] if changing else ParameterGroup(name)
        initial = rate or config.learning_rate * multiple
        own_rate = OwnRate(initial if stays else None, changes.milestones, changes.rates)
    return ParameterRule(name, parameter, multiple, own_rate, decay)


def _last_set(groups: Sequence[ParameterGroup], key: str) -> Optional[float]:
    """Return `key` from the last group that sets it, else None."""
    values = [getattr(group, key) for group in groups if getattr(group, key) is not None]
    return values[-1] if values else None
