"""Optimisers by name."""

from typing import Union

import paddle
from paddle import nn
from paddle.optimizer.lr import LRScheduler

from paddle_alexnet.config import OptimizerConfig


def build_optimizer(
    network: nn.Layer, config: OptimizerConfig, rate: Union[float, LRScheduler]
) -> paddle.optimizer.Optimizer:
    """The optimiser of a recipe; its learning rate is the `rate` of a `Schedule`."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.optimize_attr["learning_rate"] = config.bias_learning_rate
            if not config.decay_biases:
                parameter.regularizer = paddle.regularizer.L2Decay(0.0)
    common = {
        "learning_rate": rate,
        "parameters": network.parameters(),
        "weight_decay": paddle.regularizer.L2Decay(config.weight_decay) if config.weight_decay else None,
    }
    if config.name == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **common)
    return {"adam": paddle.optimizer.Adam, "sgd": paddle.optimizer.SGD}[config.name](**common)
