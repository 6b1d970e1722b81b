"""Schedules, by the size of the updates that they lead to: `get_lr` may say a rate that is not used."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import paddle
import pytest
from helpers import OneLayer, optimizer_of, schedule_of

from paddle_alexnet.config.recipe import load_config
from paddle_alexnet.config.schema import OptimizerConfig, ParameterGroup, ScheduleConfig
from paddle_alexnet.training.schedules import Schedule


def built(config: ScheduleConfig, network: OneLayer, *, epochs: int = 1, groups: tuple[ParameterGroup, ...] = ()):
    optimizer = OptimizerConfig(name="sgd", learning_rate=0.1, groups=groups)
    return optimizer, schedule_of(config, network, optimizer, epochs=epochs, steps=2)


def follow(schedule: Schedule, optimizer: paddle.optimizer.Optimizer, network: OneLayer, val_losses: list[float]):
    """How far each of two steps an epoch moves the weight and the bias, whose gradients are 1, by plain SGD."""
    moved = []
    for callback in schedule.callbacks:
        callback.set_model(SimpleNamespace(_optimizer=optimizer))
        callback.on_train_begin({})
    for epoch, val_loss in enumerate(val_losses):
        for step in range(2):
            for callback in schedule.callbacks:
                callback.on_train_batch_begin(step, {})
            before = network.weight.item(), network.bias.item()
            network(paddle.ones([1, 1])).sum().backward()
            optimizer.step()
            optimizer.clear_grad()
            moved.append((before[0] - network.weight.item(), before[1] - network.bias.item()))
            for callback in schedule.callbacks:
                callback.on_train_batch_end(step, {"loss": 0.0})
        for callback in schedule.callbacks:
            callback.on_epoch_end(epoch, {"loss": 0.0})
            callback.on_eval_end({"loss": val_loss})
    return moved


# A step is the difference of two weights up to 1, which float32 rounds by 6e-8 each: 1e-4 of a step of 0.001. A step of
# 0.00004 is measured to 3e-3.
STEPS = 1e-3


def updates(config: ScheduleConfig, val_losses: list[float]) -> list[float]:
    """How far each step moves the weight, at an initial rate of 0.1."""
    network = OneLayer(weight=0, bias=0)
    optimizer, schedule = built(config, network, epochs=len(val_losses))
    moved = follow(schedule, optimizer_of(network, optimizer, schedule.rate), network, val_losses)
    return [weight for weight, _ in moved]


def description(config: ScheduleConfig) -> str:
    return built(config, OneLayer())[1].description


def test_constant():
    assert updates(ScheduleConfig(), [1, 1]) == pytest.approx([0.1] * 4, rel=STEPS)
    assert description(ScheduleConfig()) == "constant"


def test_step_changes_the_rate_between_epochs():
    config = ScheduleConfig(name="step", milestones=(1, 3), factor=0.1)
    expected = [0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001]
    assert updates(config, [1, 1, 1, 1]) == pytest.approx(expected, rel=STEPS)
    assert description(config) == "×0.1 after epochs 1, 3"


def test_step_may_count_steps_and_begin_with_a_warm_up():
    config = ScheduleConfig(name="step", milestones=(5,), factor=0.1, per="step", warmup_epochs=2)
    assert updates(config, [1] * 3) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.01], rel=STEPS)
    assert description(config) == "×0.1 after steps 5, from 0 in the first 2 epochs"


@pytest.mark.parametrize(
    "per, expected",
    [
        ("epoch", [0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.075, 0.075, 0.025, 0.025]),
        ("step", [0.025, 0.05, 0.075, 0.1, *(0.05 * (1 + math.cos(math.pi * n / 6)) for n in range(6))]),
    ],
)
def test_cosine_with_warm_up(per, expected):
    config = ScheduleConfig(name="cosine", per=per, warmup_epochs=2)
    assert updates(config, [1] * 5) == pytest.approx(expected, rel=STEPS)
    assert description(config) == f"cosine to 0 by the {per}, from 0 in the first 2 epochs"


def test_plateau_lowers_the_rate_after_more_than_patience_epochs_without_a_better_loss():
    config = ScheduleConfig(name="plateau", patience=1, factor=0.5)
    losses = [3, 2, 2, 2, 1, float("nan"), 1, 1]  # the best at the second and the fifth, lowered two epochs after each
    expected = [rate for rate in [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025] for _ in range(2)]
    assert updates(config, losses) == pytest.approx(expected, rel=STEPS)
    assert description(config) == "×0.5 on plateau"


def test_a_plateau_that_began_when_patience_counted_one_more_ends_as_it_began():
    network = OneLayer(weight=0, bias=0)
    optimizer, schedule = built(ScheduleConfig(name="plateau", patience=2, factor=0.5), network)
    [lower] = schedule.callbacks
    lower.set_state_dict({"best": 1.0, "waited": 1})
    moved = follow(schedule, optimizer_of(network, optimizer, schedule.rate), network, [1, 1])
    assert [weight for weight, _ in moved[::2]] == pytest.approx([0.1, 0.05], rel=1e-3)
    assert lower.state_dict()["patience"] == 1


def test_parameters_may_have_milestones_of_their_own():
    """The weight as the schedule says until epoch 2, then 0.03 and 0; the bias at 0.2 until it rests with it."""
    network = OneLayer(weight=0, bias=0)
    groups = (
        ParameterGroup("*.bias", learning_rate=0.2, follows_schedule=False),
        ParameterGroup("*", milestones=(4,), rates=(0,)),
        ParameterGroup("fc8.weight", milestones=(2, 4), rates=(0.03, 0)),
    )
    config = ScheduleConfig(name="step", milestones=(1, 3), factor=0.1)
    optimizer, schedule = built(config, network, epochs=5, groups=groups)
    moved = follow(schedule, optimizer_of(network, optimizer, schedule.rate), network, [1] * 5)
    assert [weight for weight, _ in moved[::2]] == pytest.approx([0.1, 0.01, 0.03, 0.03, 0], rel=STEPS)
    assert [bias for _, bias in moved[1::2]] == pytest.approx([0.2, 0.2, 0.2, 0.2, 0], rel=STEPS)


def test_the_biases_of_one_weird_trick_fall_once():
    """Recipe owt2014: weights from 0.01 by the cube root of 250 three times, biases from 0.02 by 10 after epoch 45."""
    network = OneLayer(weight=0, bias=0)
    recipe = load_config(Path("owt2014"))
    optimizer = replace(recipe.optimizer, name="sgd", weight_decay=0)
    schedule = schedule_of(recipe.schedule, network, optimizer, epochs=90, steps=2)
    moved = follow(schedule, optimizer_of(network, optimizer, schedule.rate), network, [1] * 90)
    weight, bias = zip(*moved[::2])
    at = [0, 22, 23, 44, 45, 67, 68, 89]
    falls = [1, 1, 250 ** (-1 / 3), 250 ** (-1 / 3), 250 ** (-2 / 3), 250 ** (-2 / 3), 1 / 250, 1 / 250]
    assert [weight[epoch] for epoch in at] == pytest.approx([0.01 * fall for fall in falls], rel=3 * STEPS)
    assert [bias[epoch] for epoch in at] == pytest.approx([0.02] * 4 + [0.002] * 4, rel=STEPS)
