"""Schedules, by the size of the updates that they lead to: `get_lr` may say a rate that is not used."""

from types import SimpleNamespace

import paddle
import pytest

from paddle_alexnet.config import OptimizerConfig, ScheduleConfig
from paddle_alexnet.training.optimisers import build_optimizer
from paddle_alexnet.training.schedules import build_schedule


def updates(config: ScheduleConfig, val_losses: list[float]) -> list[float]:
    """How far each of two steps an epoch moves a weight whose gradient is 1, by plain SGD at 0.1."""
    network = paddle.nn.Linear(1, 1, bias_attr=False)
    schedule = build_schedule(config, 0.1)
    optimizer = build_optimizer(network, OptimizerConfig(name="sgd"), schedule.rate)
    moved = []
    for callback in schedule.callbacks:
        callback.set_model(SimpleNamespace(_optimizer=optimizer))
        callback.on_train_begin({})
    for epoch, val_loss in enumerate(val_losses):
        for step in range(2):
            before = network.weight.item()
            network(paddle.ones([1, 1])).sum().backward()
            optimizer.step()
            optimizer.clear_grad()
            moved.append(before - network.weight.item())
            for callback in schedule.callbacks:
                callback.on_train_batch_end(step, {"loss": 0.0})
        for callback in schedule.callbacks:
            callback.on_epoch_end(epoch, {"loss": 0.0})
            callback.on_eval_end({"loss": val_loss})
    return moved


def test_constant():
    assert updates(ScheduleConfig(), [1, 1]) == pytest.approx([0.1] * 4, rel=1e-4)
    assert build_schedule(ScheduleConfig(), 0.1).description == "constant"


def test_step_changes_the_rate_between_epochs():
    config = ScheduleConfig(name="step", milestones=(1, 3), factor=0.1)
    expected = [0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001]
    assert updates(config, [1, 1, 1, 1]) == pytest.approx(expected, rel=1e-3)
    assert build_schedule(config, 0.1).description == "×0.1 after epochs 1, 3"


def test_plateau_lowers_the_rate_after_patience_epochs_without_a_better_loss():
    config = ScheduleConfig(name="plateau", patience=2, factor=0.5)
    losses = [3, 2, 2, 2, 1, float("nan"), 1, 1]  # the best at the second and the fifth, lowered two epochs after each
    expected = [rate for rate in [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025] for _ in range(2)]
    assert updates(config, losses) == pytest.approx(expected, rel=1e-3)
    assert build_schedule(config, 0.1).description == "×0.5 on plateau"
