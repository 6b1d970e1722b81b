"""Optimisers and learning-rate schedules by name."""

from typing import Union

import paddle
from paddle import nn

from paddle_alexnet.config import OptimizerConfig, ScheduleConfig


def build_optimizer(network: nn.Layer, config: OptimizerConfig, schedule: ScheduleConfig) -> paddle.optimizer.Optimizer:
    """The optimiser of a recipe, its learning rate a schedule that steps per epoch where there is one.

    The `plateau` schedule keeps a plain rate: a callback lowers it, for Paddle takes
    `lr.ReduceOnPlateau` only from its own loop.
    """
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.optimize_attr["learning_rate"] = config.bias_learning_rate
            if not config.decay_biases:
                parameter.regularizer = paddle.regularizer.L2Decay(0.0)
    rate: Union[float, paddle.optimizer.lr.LRScheduler] = config.learning_rate
    if schedule.name == "step":
        rate = paddle.optimizer.lr.MultiStepDecay(config.learning_rate, list(schedule.milestones), schedule.factor)
    common = {
        "learning_rate": rate,
        "parameters": network.parameters(),
        "weight_decay": paddle.regularizer.L2Decay(config.weight_decay) if config.weight_decay else None,
    }
    if config.name == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **common)
    return {"adam": paddle.optimizer.Adam, "sgd": paddle.optimizer.SGD}[config.name](**common)
