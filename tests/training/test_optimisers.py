import numpy as np
import paddle
import pytest

from paddle_alexnet.config import OptimizerConfig
from paddle_alexnet.training.optimisers import build_optimizer


def step(config: OptimizerConfig) -> tuple[float, float]:
    """Where one step takes a weight of 2 and a bias of 3 whose gradients are 1, at a rate of 0.1."""
    network = paddle.nn.Linear(1, 1)
    network.weight.set_value(np.array([[2]], np.float32))
    network.bias.set_value(np.array([3], np.float32))
    optimizer = build_optimizer(network, config, 0.1)
    network(paddle.ones([1, 1])).sum().backward()
    optimizer.step()
    return network.weight.item(), network.bias.item()


@pytest.mark.parametrize(
    ("settings", "weight", "bias"),
    [
        ({}, 1.9, 2.9),
        ({"weight_decay": 0.5}, 2 - 0.1 * (1 + 0.5 * 2), 3 - 0.1 * (1 + 0.5 * 3)),
        ({"weight_decay": 0.5, "decay_biases": False}, 1.8, 2.9),
        ({"bias_learning_rate": 2.0}, 1.9, 2.8),
        ({"name": "momentum"}, 1.9, 2.9),
        ({"name": "adam"}, 1.9, 2.9),  # the first step of Adam is the rate times the gradient's sign
    ],
)
def test_the_first_step(settings, weight, bias):
    assert step(OptimizerConfig(**{"name": "sgd", **settings})) == pytest.approx((weight, bias), rel=1e-5)
