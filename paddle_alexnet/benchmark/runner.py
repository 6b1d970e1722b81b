"""Timing of a network's passes in several frameworks, in turns."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Callable

import numpy as np
import paddle
from paddle import nn

from paddle_alexnet.config.schema import Config
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.progress import EVERY, working
from paddle_alexnet.training.optimizers import build_optimizer
from paddle_alexnet.training.parameter_groups import resolve_groups

PASSES = {"Forward": 1, "Forward-backward": 3, "Training step": 3}  # FLOPs relative to a forward pass

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runner:
    """A network in one framework, with a function for one batch of each of `PASSES`."""

    name: str
    network: Any
    steps: Mapping[str, Callable[[], object]]
    synchronize: Callable[[], object]


def nothing() -> None:
    """Do nothing: a CPU needs no synchronization."""


def mode(step: str) -> str:
    """Return the mode of the network in a pass: `eval` or `train`."""
    return "eval" if step == "Forward" else "train"


def paddle_runner(network: AlexNet, image: np.ndarray, label: np.ndarray, config: Config, device: str) -> Runner:
    """Return the runner of a Paddle network on images, float32 [N, 3, S, S], and labels, int64 [N]."""
    x, y = paddle.to_tensor(image), paddle.to_tensor(label)
    rules = resolve_groups(network.weights_and_biases(), config.optimizer)
    optimizer = build_optimizer(config.optimizer, rules, config.optimizer.learning_rate)
    cross_entropy = nn.CrossEntropyLoss()

    def forward() -> None:
        with paddle.no_grad():
            network(x)

    def forward_backward() -> None:
        loss = (network(x) ** 2).sum() / 2
        paddle.grad(loss, network.parameters())

    def training_step() -> None:
        cross_entropy(network(x), y).backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    synchronize = paddle.device.cuda.synchronize if device.startswith("gpu") else nothing
    steps = dict(zip(PASSES, (forward, forward_backward, training_step)))
    name = f"paddle {network.lrn}" if network.kernels == "paddle" else "compiled"
    return Runner(name, network, steps, synchronize)


def time_in_turn(runners: Sequence[Runner], step: str, *, burn_in: int, steps: int) -> dict[str, list[float]]:
    """Return the seconds of each timed step by runner, taken in turns; log lines like TensorFlow's benchmark."""
    durations: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for runner in runners:
        getattr(runner.network, mode(step))()  # both frameworks call it .eval() and .train()
    with working(f"{step}: {burn_in} warm-up steps"):
        for _, runner in product(range(burn_in), runners):
            runner.steps[step]()
            runner.synchronize()
    shown = time.monotonic()
    for i, runner in product(range(steps), runners):
        runner.synchronize()
        start = time.perf_counter()
        runner.steps[step]()
        runner.synchronize()
        duration = time.perf_counter() - start
        durations[runner.name].append(duration)
        if i % 10 == 0 or time.monotonic() - shown > EVERY:
            who = f"{runner.name}: " if len(runners) > 1 else ""
            _log.info(f"{_now()}: {who}step {i}, duration = {duration:.3f}")
            shown = time.monotonic()
    for name, seconds in durations.items():
        who = f"{name}: " if len(runners) > 1 else ""
        mean, std = np.mean(seconds), np.std(seconds)
        _log.info(f"{_now()}: {who}{step} across {steps} steps, {mean:.3f} +/- {std:.3f} sec / batch")
    return durations


def _now() -> str:
    return datetime.now().isoformat(sep=" ", timespec="milliseconds")
