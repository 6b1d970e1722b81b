"""Timing in turns, and what the passes of a Paddle network do."""

import re

import numpy as np
import paddle

from paddle_alexnet import AlexNet, load_config
from paddle_alexnet.benchmark.runner import Runner, paddle_runner, time_in_turn


def test_burn_in_is_not_timed_and_every_tenth_step_has_a_line(caplog):
    caplog.set_level("INFO", "paddle_alexnet")
    done = []
    network = paddle.nn.ReLU()
    runners = [Runner(name, network, {"Forward": lambda name=name: done.append(name)}, int) for name in "ab"]
    durations = time_in_turn(runners, "Forward", burn_in=3, steps=21)
    assert done == ["a", "b"] * 24
    assert not network.training
    assert len(durations["a"]) == len(durations["b"]) == 21
    assert re.findall(r"(\w): step (\d+), duration", caplog.text) == [
        (name, step) for step in ("0", "10", "20") for name in "ab"
    ]


def test_only_the_training_step_changes_the_weights(tiny):
    network = AlexNet("tiny")
    image, label = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32), np.array([0, 1])
    runner = paddle_runner(network, image, label, load_config(None), "cpu")
    before = network.block1[0].weight.numpy()
    runner.steps["Forward"]()
    runner.steps["Forward-backward"]()
    assert (network.block1[0].weight.numpy() == before).all()
    assert all(parameter.grad is None for parameter in network.parameters())
    runner.steps["Training step"]()
    assert (network.block1[0].weight.numpy() != before).any()
