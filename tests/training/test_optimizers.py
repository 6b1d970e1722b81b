"""Update rules, by where steps take a weight and a bias."""

import math

import paddle
import pytest
from helpers import OneLayer, optimizer_of

from paddle_alexnet import UserError
from paddle_alexnet.config.schema import OptimizerConfig, ParameterGroup
from paddle_alexnet.training.parameter_groups import resolve_groups

# A weight of 2 after steps of 0.1 to 1. Adam divides by the root of 1 - 0.999, which float32 holds to 2^-24 / 0.001:
# half of that is 3e-5 of a step of 0.1, or 1.5e-6 of the weight. Clipping adds 1e-6 to the norm.
STEPS = 5e-6


def step(config: OptimizerConfig) -> tuple[float, float]:
    """Where one step takes a weight of 2 and a bias of 3 whose gradients are 1, at a rate of 0.1."""
    network = OneLayer()
    optimizer = optimizer_of(network, config, 0.1)
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
        ({"name": "momentum_2012"}, 1.9, 2.9),
        ({"name": "adam"}, 1.9, 2.9),  # the first step of Adam is the rate times the gradient's sign
        ({"name": "adam", "weight_decay": 0.5}, 1.9, 2.9),  # in which a decay within the gradient is lost
        ({"name": "adamw"}, 1.9, 2.9),
        ({"name": "adamw", "weight_decay": 0.5}, 1.9 - 0.1 * 0.5 * 2, 2.9 - 0.1 * 0.5 * 3),
        ({"name": "adamw", "weight_decay": 0.5, "decay_biases": False}, 1.8, 2.9),
        ({"clip_norm": 0.1}, 2 - 0.01 / math.sqrt(2), 3 - 0.01 / math.sqrt(2)),
        ({"clip_norm": 0.1, "name": "momentum_2012"}, 2 - 0.01 / math.sqrt(2), 3 - 0.01 / math.sqrt(2)),
        ({"clip_norm": 10.0}, 1.9, 2.9),
    ],
)
def test_the_first_step(settings, weight, bias):
    assert step(OptimizerConfig(**{"name": "sgd", **settings})) == pytest.approx((weight, bias), rel=STEPS)


GRADIENTS = [0.5, -1.0, 2.0, 0.25, 0.0, -0.5]
RATES = [0.1, 0.1, 0.01, 0.01, 0.0, 0.001]  # at 0 all rests


def by_hand(name: str, *, value: float, decay: float, multiple: float) -> list[float]:
    """A parameter after each step: the rules of Krizhevsky et al. 2012, section 5, and of Paddle's Momentum."""
    values, v = [], 0.0
    for gradient, rate in zip(GRADIENTS, RATES):
        rate *= multiple
        if name == "momentum_2012":
            if rate > 0:
                v = 0.9 * v - decay * rate * value - rate * gradient
                value += v
        else:
            v = 0.9 * v + gradient + decay * value
            value -= rate * v
        values.append(value)
    return values


def train(network: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, steps: range) -> list[tuple[float, float]]:
    """The weight and the bias after each step, whose gradients are those of the list."""
    values = []
    for step in steps:
        optimizer.set_lr(RATES[step])
        ((network.weight.sum() + network.bias.sum()) * GRADIENTS[step]).backward()
        optimizer.step()
        optimizer.clear_grad()
        values.append((network.weight.item(), network.bias.item()))
    return values


@pytest.mark.parametrize("name", ["momentum", "momentum_2012"])
@pytest.mark.parametrize("decay_biases", [False, True])
def test_momentum_over_changes_of_the_rate(name, decay_biases):
    settings = {"weight_decay": 0.5, "decay_biases": decay_biases, "bias_learning_rate": 2.0}
    network = OneLayer()
    optimizer = optimizer_of(network, OptimizerConfig(name=name, **settings), 1.0)
    weights = by_hand(name, value=2, decay=0.5, multiple=1)
    biases = by_hand(name, value=3, decay=0.5 if decay_biases else 0, multiple=2)
    assert train(network, optimizer, range(6)) == [pytest.approx(pair, rel=STEPS) for pair in zip(weights, biases)]


def test_a_settled_velocity_outlives_a_change_of_the_rate_by_9_1_times():
    steps = {}
    for name in ("momentum", "momentum_2012"):
        network = OneLayer()
        optimizer = optimizer_of(network, OptimizerConfig(name=name), 1e-3)
        for step in range(101):
            if step == 100:
                optimizer.set_lr(1e-4)
                before = network.bias.item()
            (network.weight.sum() + network.bias.sum()).backward()
            optimizer.step()
            optimizer.clear_grad()
        steps[name] = before - network.bias.item()
    assert steps["momentum_2012"] / steps["momentum"] == pytest.approx(9.1, rel=1e-2)


def test_the_velocity_is_saved_and_restored_to_the_bit(tmp_path):
    config = OptimizerConfig(name="momentum_2012", weight_decay=0.5)

    def run(steps, *, resume=False):
        with paddle.utils.unique_name.guard():  # as in another process
            network, schedule = OneLayer(), paddle.optimizer.lr.MultiStepDecay(0.1, [2, 4])
            optimizer = optimizer_of(network, config, schedule)
            if resume:
                network.set_state_dict(paddle.load(str(tmp_path / "network.pdparams")))
                optimizer.set_state_dict(paddle.load(str(tmp_path / "optimizer.pdopt")))
            for _ in range(steps):
                network(paddle.full([1, 1], 0.3)).exp().sum().backward()
                optimizer.step()
                optimizer.clear_grad()
                schedule.step()
        paddle.save(network.state_dict(), str(tmp_path / "network.pdparams"))
        paddle.save(optimizer.state_dict(), str(tmp_path / "optimizer.pdopt"))
        return network.weight.item(), network.bias.item()

    straight = run(6)
    assert run(3) != straight
    assert run(3, resume=True) == straight


@pytest.mark.parametrize("name", ["sgd", "momentum_2012", "adamw"])
def test_groups_of_parameters_have_their_own_rate_and_decay(name):
    """A later group has the last word, of what it sets; gradients are shortened as one vector all the same."""
    groups = (
        ParameterGroup("*", learning_rate=0.4, weight_decay=0.5),
        ParameterGroup("fc8.weight", weight_decay=0.25),
        ParameterGroup("*.bias", learning_rate=0.2),
    )
    weight, bias = step(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=7.0, groups=groups))
    assert (weight, bias) == pytest.approx((2 - 0.4 * (1 + 0.25 * 2), 3 - 0.2 * (1 + 0.5 * 3)), rel=STEPS)
    clipped = step(OptimizerConfig(name="sgd", learning_rate=0.1, clip_norm=math.sqrt(2) / 10, groups=groups[2:]))
    assert clipped == pytest.approx((2 - 0.1 / 10, 3 - 0.2 / 10), rel=STEPS)


def test_a_group_of_nothing_is_an_error():
    with pytest.raises(UserError, match=r"groups: no parameter matches conv9\*; use a pattern of fc8.weight, fc8.bias"):
        resolve_groups(OneLayer().weights_and_biases(), OptimizerConfig(groups=(ParameterGroup("conv9*"),)))
