"""Optimizers by name, and what is otherwise for some of the parameters."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Optional, Union

import paddle
from paddle.nn import ClipGradByGlobalNorm
from paddle.optimizer.lr import LRScheduler
from paddle.regularizer import L2Decay

from paddle_alexnet.config.schema import OptimizerConfig, ParameterGroup
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.errors import UserError


def build_optimizer(
    network: AlexNet, config: OptimizerConfig, rate: Union[float, LRScheduler]
) -> paddle.optimizer.Optimizer:
    """The optimizer of a recipe; its learning rate is the `rate` of a `Schedule`.

    A parameter's own multiple of that rate is in its `optimize_attr`, where Paddle's updates look for it each time.
    Paddle's own groups of parameters are not used: it would clip the gradients of each by themselves.

    Raises UserError for a group that no parameter belongs to.
    """
    check_groups(network, config)
    decays = {}
    for name, parameter in named_parameters(network):
        groups = groups_of(name, config)
        own = last(groups, "learning_rate")
        multiple = config.bias_learning_rate if name.endswith("bias") else 1.0
        parameter.optimize_attr["learning_rate"] = own / config.learning_rate if own else multiple
        decay = last(groups, "weight_decay")
        if decay is None and name.endswith("bias") and not config.decay_biases:
            decay = 0.0
        if decay is not None and config.name != "adamw":
            parameter.regularizer = L2Decay(decay)
        decays[parameter.name] = config.weight_decay if decay is None else decay
    common = {
        "learning_rate": rate,
        "parameters": network.parameters(),
        "grad_clip": ClipGradByGlobalNorm(config.clip_norm) if config.clip_norm else None,
    }
    if config.name == "adamw":
        return AdamW(decays=decays, **common)
    common["weight_decay"] = L2Decay(config.weight_decay) if config.weight_decay else None
    if config.name == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **common)
    if config.name == "momentum_2012":
        return Momentum2012(momentum=config.momentum, **common)
    return {"adam": paddle.optimizer.Adam, "sgd": paddle.optimizer.SGD}[config.name](**common)


def named_parameters(network: AlexNet) -> Iterator[tuple[str, Any]]:
    """The parameters by their names in a recipe: conv1.weight, conv1.bias, …, fc8.bias."""
    for stage, layer in network.named_layers():
        for name, parameter in layer.named_parameters(include_sublayers=False):
            yield f"{stage.name}.{name}", parameter


def check_groups(network: AlexNet, config: OptimizerConfig) -> None:
    """Raise UserError for a group that no parameter belongs to."""
    names = [name for name, _ in named_parameters(network)]
    for group in config.groups:
        if not any(fnmatchcase(name, group.parameters) for name in names):
            raise UserError(f"optimizer.groups: {group.parameters}: no such parameter; there are {', '.join(names)}")


def groups_of(name: str, config: OptimizerConfig) -> list[ParameterGroup]:
    """The groups that a parameter belongs to, of which the last that sets something has the last word."""
    return [group for group in config.groups if fnmatchcase(name, group.parameters)]


def last(groups: Sequence[ParameterGroup], key: str) -> Optional[float]:
    """What the last of some groups that sets a key sets it to; None where none does."""
    values = [getattr(group, key) for group in groups if getattr(group, key) is not None]
    return values[-1] if values else None


class AdamW(paddle.optimizer.AdamW):
    """Adam with a decay apart from the gradient (Loshchilov and Hutter 2019), of each parameter its own."""

    def __init__(self, *, decays: dict[str, float], **common: Any) -> None:
        super().__init__(weight_decay=0.0, **common)
        self._decays = decays  # by Paddle's names of the parameters

    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> Any:
        self._weight_decay = self._decays[param_and_grad[0].name]
        return super()._append_optimize_op(block, param_and_grad)


class Momentum2012(paddle.optimizer.Optimizer):
    """Momentum with the learning rate inside the velocity: v = momentum v - rate (g + decay w); w = w + v.

    The rule of the paper (section 5), of its code and of Caffe. Paddle's and PyTorch's has the rate outside,
    v = momentum v + g + decay w; w = w - rate v: the same until the rate changes, then not until the old velocity has
    died away. After a division by 10 a settled velocity makes the first step here 9.1 times theirs.

    A parameter's own multiple of the rate is part of `rate`; at a rate of 0 parameter and velocity rest.
    """

    def __init__(
        self,
        *,
        learning_rate: Union[float, LRScheduler],
        momentum: float,
        parameters: Sequence[Any],
        weight_decay: Optional[L2Decay] = None,
        grad_clip: Optional[ClipGradByGlobalNorm] = None,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, parameters=parameters, weight_decay=weight_decay, grad_clip=grad_clip
        )
        self.type = "momentum_2012"
        self._momentum = momentum

    def _create_accumulators(self, block: Any, parameters: Any) -> None:
        for parameter in parameters:
            self._add_accumulator("velocity", parameter)  # once: later calls find it

    @paddle.no_grad()
    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
        parameter, gradient = param_and_grad  # to which Paddle has added the decay
        rate = self.get_lr() * parameter.optimize_attr["learning_rate"]
        if rate == 0:
            return
        velocity = self._get_accumulator("velocity", parameter)
        velocity.scale_(self._momentum)
        velocity.subtract_(gradient * rate)
        parameter.add_(velocity)
