"""Optimisers by name."""

from collections.abc import Sequence
from typing import Any, Optional, Union

import paddle
from paddle import nn
from paddle.optimizer.lr import LRScheduler
from paddle.regularizer import L2Decay

from paddle_alexnet.config import OptimizerConfig


def build_optimizer(
    network: nn.Layer, config: OptimizerConfig, rate: Union[float, LRScheduler]
) -> paddle.optimizer.Optimizer:
    """The optimiser of a recipe; its learning rate is the `rate` of a `Schedule`."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.optimize_attr["learning_rate"] = config.bias_learning_rate
            if not config.decay_biases:
                parameter.regularizer = L2Decay(0.0)
    common = {
        "learning_rate": rate,
        "parameters": network.parameters(),
        "weight_decay": L2Decay(config.weight_decay) if config.weight_decay else None,
    }
    if config.name == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **common)
    if config.name == "momentum_2012":
        return Momentum2012(momentum=config.momentum, **common)
    return {"adam": paddle.optimizer.Adam, "sgd": paddle.optimizer.SGD}[config.name](**common)


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
    ) -> None:
        super().__init__(learning_rate=learning_rate, parameters=parameters, weight_decay=weight_decay)
        self.type = "momentum_2012"
        self._momentum = momentum

    def _create_accumulators(self, block: Any, parameters: Any) -> None:
        for parameter in _of_group(parameters):
            self._add_accumulator("velocity", parameter)  # once: later calls find it

    @paddle.no_grad()
    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
        parameter, gradient = _of_group(param_and_grad)  # to which Paddle has added the decay
        rate = self.get_lr() * parameter.optimize_attr["learning_rate"]
        if rate == 0:
            return
        velocity = self._get_accumulator("velocity", parameter)
        velocity.scale_(self._momentum)
        velocity.subtract_(gradient * rate)
        parameter.add_(velocity)


def _of_group(found: Any) -> Any:
    """What Paddle passes on, which is in a dictionary where there are groups of parameters."""
    return found["params"] if isinstance(found, dict) else found
