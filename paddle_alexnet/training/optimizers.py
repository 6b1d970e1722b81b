"""Optimizers by name."""

from collections.abc import Sequence
from typing import Any, Optional, Union

import paddle
from paddle.nn import ClipGradByGlobalNorm
from paddle.optimizer.lr import LRScheduler
from paddle.regularizer import L2Decay

from paddle_alexnet.config.schema import OptimizerConfig
from paddle_alexnet.training.parameter_groups import ParameterRule


def build_optimizer(
    config: OptimizerConfig, rules: Sequence[ParameterRule], rate: Union[float, LRScheduler]
) -> paddle.optimizer.Optimizer:
    """Build the optimizer of a config for the parameters of `rules`; `rate` is that of a `Schedule`.

    A parameter's multiple of the rate is stored in its `optimize_attr`, which Paddle's updates read. Paddle's parameter
    groups are not used, because Paddle clips the gradients of each group separately.
    """
    for rule in rules:
        rule.parameter.optimize_attr["learning_rate"] = rule.multiple
        if rule.weight_decay is not None and config.name != "adamw":
            rule.parameter.regularizer = L2Decay(rule.weight_decay)
    common: dict[str, Any] = {
        "learning_rate": rate,
        "parameters": [rule.parameter for rule in rules],
        "grad_clip": ClipGradByGlobalNorm(config.clip_norm) if config.clip_norm else None,
    }
    if config.name == "adamw":
        decays = {
            rule.parameter.name: config.weight_decay if rule.weight_decay is None else rule.weight_decay
            for rule in rules
        }
        return AdamW(decays=decays, **common)
    common["weight_decay"] = L2Decay(config.weight_decay) if config.weight_decay else None
    if config.name == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **common)
    if config.name == "momentum_2012":
        return Momentum2012(momentum=config.momentum, **common)
    return {"adam": paddle.optimizer.Adam, "sgd": paddle.optimizer.SGD}[config.name](**common)


class AdamW(paddle.optimizer.AdamW):
    """AdamW (Loshchilov and Hutter 2019) with a weight decay per parameter."""

    def __init__(self, *, decays: dict[str, float], **common: Any) -> None:
        super().__init__(weight_decay=0.0, **common)
        self._decays = decays  # by Paddle's parameter names

    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> Any:
        self._weight_decay = self._decays[param_and_grad[0].name]
        return super()._append_optimize_op(block, param_and_grad)


class Momentum2012(paddle.optimizer.Optimizer):
    """Momentum with the learning rate inside the velocity: v = momentum v - rate (g + decay w); w = w + v.

    This is the rule of the paper (section 5), its code and Caffe. Paddle and PyTorch have the rate outside:
    v = momentum v + g + decay w; w = w - rate v. The rules are equal until the rate changes, and differ until the old
    velocity has decayed. After a division of the rate by 10, the first step here is 9.1 times theirs.

    `rate` includes a parameter's multiple; at rate 0, parameter and velocity do not change.
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
            self._add_accumulator("velocity", parameter)  # later calls find it

    @paddle.no_grad()
    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
        parameter, gradient = param_and_grad  # Paddle has added the decay to the gradient
        rate = self.get_lr() * parameter.optimize_attr["learning_rate"]
        if rate == 0:
            return
        velocity = self._get_accumulator("velocity", parameter)
        velocity.scale_(self._momentum)
        velocity.subtract_(gradient * rate)
        parameter.add_(velocity)
