"""How fast a network computes on this machine, timed as TensorFlow's AlexNet benchmark of 2018 does.

Random images; a forward pass, a forward-backward pass (the gradient of an L2 loss of the output with
respect to all parameters) and a training step, each burnt in and then timed. Several runners (LRN
backends, PyTorch) take turns step by step, so that a change in the machine's load meets them all.
"""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Callable, Literal, Optional

import numpy as np
import paddle
import pandas as pd
from paddle import nn

from paddle_alexnet.analysis.structure import describe, format_columns
from paddle_alexnet.benchmark.runner import PASSES, Runner, nothing, threads
from paddle_alexnet.benchmark.torch_twin import torch_runner
from paddle_alexnet.config import Config
from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.files import write_text
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.training.optimisers import build_optimizer

PEAK_SIDE = 2048  # of the square matrices whose product measures the peak


def benchmark_network(
    preset: str = "paddle2",
    *,
    config: Config,
    num_classes: Optional[int] = None,
    lrn: Sequence[str] = ("auto",),
    against: Optional[Literal["torch"]] = None,
    batch_size: int = 32,
    burn_in: int = 10,
    steps: int = 100,
) -> dict[str, Any]:
    """Time a preset, print as it goes, and return everything as plain values for JSON.

    `config` gives the device, the seed and the optimiser of the training step. Times are seconds per
    batch. The forward pass is in evaluation mode without gradients, the other two in training mode. The
    percentage is of the float32 matrix-product peak measured in the same run; a forward pass counts 2
    FLOPs per multiply-accumulate, a pass with gradients three times that, the optimiser nothing.

    Raises UserError for unknown names, a device that is not there, PyTorch that is not installed, or
    backends to compare in a network without LRN.
    """
    if min(batch_size, steps) < 1 or burn_in < 0:
        raise UserError("the batch size and the steps must be 1 or more, the burn-in steps 0 or more")
    device = use_device(config.device)
    paddle.seed(config.train.seed)
    backends = list(dict.fromkeys(choose_backend(name) for name in lrn))
    networks = [AlexNet(preset, num_classes, backend) for backend in backends]
    if len(backends) > 1 and networks[0].lrn == networks[1].lrn:
        raise UserError(f"preset {preset} has no LRN, so there are no backends to compare: leave out --lrn")
    table = describe(networks[0], batch_size)
    flops = 2 * int(table["macs"].sum())
    size = networks[0].image_size
    image = 0.1 * np.random.default_rng(config.train.seed).standard_normal((batch_size, 3, size, size), np.float32)
    label = np.arange(batch_size) % networks[0].num_classes
    runners = [paddle_runner(network, image, label, config, device) for network in networks]
    if against == "torch":
        runners.append(torch_runner(networks[0], image, label, config.optimizer, device))

    environment = {
        "preset": preset,
        "num_classes": networks[0].num_classes,
        "image_size": size,
        "batch_size": batch_size,
        "burn_in": burn_in,
        "steps": steps,
        "optimizer": config.optimizer.name,
        "device": device,
        "threads": threads(),
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "forward_gflop": flops / 1e9,
    }
    for key, value in environment.items():
        print(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    activations = [
        {"name": name, "type": kind, "shape": list(shape)}
        for name, kind, shape in zip(table["layer"], table["type"], table["output_shape"])
    ]
    for activation in activations:
        print(f"{activation['name']} {activation['type']}   {activation['shape']}")

    durations, peak = {}, measure_peak(runners[0].synchronize)
    for step in PASSES:
        print(f"{step}, network in {_mode(step)} mode")
        durations[step] = time_in_turn(runners, step, burn_in=burn_in, steps=steps)
        # Again, for a shared machine is not always equally fast.
        peak = max(peak, measure_peak(runners[0].synchronize))
    results = [
        {
            "step": step,
            "runner": runner.name,
            "mode": _mode(step),
            "mean_s": (mean := float(np.mean(durations[step][runner.name]))),
            "std_s": float(np.std(durations[step][runner.name])),
            "images_per_s": batch_size / mean,
            "gflops": passes * flops / mean / 1e9,
            "percent_of_peak": 100 * passes * flops / mean / 1e9 / peak,
            "durations_s": durations[step][runner.name],
        }
        for step, passes in PASSES.items()
        for runner in runners
    ]
    ratios = []
    for step, runner in product(PASSES, runners[1:]):
        paired = np.divide(durations[step][runner.name], durations[step][runners[0].name])
        low, median, high = np.percentile(paired, (10, 50, 90)).tolist()
        pair = {"time_of": runner.name, "over": runners[0].name}
        ratios.append({"step": step, **pair, "median": median, "p10": low, "p90": high})
    report = {
        **environment,
        "peak_gflops": peak,
        "activations": activations,
        "results": results,
        "ratios": ratios,
    }
    print(format_report(report))
    return report


def time_in_turn(runners: Sequence[Runner], step: str, *, burn_in: int, steps: int) -> dict[str, list[float]]:
    """Seconds of each timed step by runner, taken in turns; prints as TensorFlow's benchmark does."""
    durations: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for runner in runners:
        getattr(runner.network, _mode(step))()  # both frameworks call it .eval() and .train()
    for i, runner in product(range(-burn_in, steps), runners):
        runner.synchronize()
        start = time.perf_counter()
        runner.steps[step]()
        runner.synchronize()
        duration = time.perf_counter() - start
        if i < 0:
            continue
        durations[runner.name].append(duration)
        if i % 10 == 0:
            who = f"{runner.name}: " if len(runners) > 1 else ""
            print(f"{_now()}: {who}step {i}, duration = {duration:.3f}")
    for name, seconds in durations.items():
        who = f"{name}: " if len(runners) > 1 else ""
        mean, std = np.mean(seconds), np.std(seconds)
        print(f"{_now()}: {who}{step} across {steps} steps, {mean:.3f} +/- {std:.3f} sec / batch")
    return durations


def format_report(report: Mapping[str, Any]) -> str:
    """The results of `benchmark` as tables."""
    rows = [
        {
            "step": result["step"],
            "runner": result["runner"],
            "mode": result["mode"],
            "ms / batch": f"{1000 * result['mean_s']:.1f} ± {1000 * result['std_s']:.1f}",
            "images/s": f"{result['images_per_s']:.1f}",
            "GFLOP/s": f"{result['gflops']:.1f}",
            "% of peak": f"{result['percent_of_peak']:.1f}",
        }
        for result in report["results"]
    ]
    lines = [
        format_columns(pd.DataFrame(rows), left=3),
        f"peak: {report['peak_gflops']:.0f} GFLOP/s, the best {PEAK_SIDE}³ float32 matrix product in this run",
        "counted: 2 FLOPs per multiply-accumulate, forward 1×, with gradients 3×, the optimiser nothing",
    ]
    if max(result["percent_of_peak"] for result in report["results"]) > 100:
        lines.append(
            "over 100 %: the machine was busy with other work whenever the peak was measured, so measure again"
        )
    lines += [
        f"{ratio['step']}: time of {ratio['time_of']} / time of {ratio['over']} = {ratio['median']:.2f} "
        f"(80 % of the steps within {ratio['p10']:.2f} … {ratio['p90']:.2f})"
        for ratio in report["ratios"]
    ]
    return "\n".join(lines)


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Write the report and say where. Raises UserError if it cannot be written."""
    write_text(path, json.dumps(report, indent=2) + "\n")


def measure_peak(synchronize: Callable[[], object]) -> float:
    """The best rate of up to ten float32 matrix products in Paddle within about two seconds, GFLOP/s."""
    a, b = paddle.randn([PEAK_SIDE, PEAK_SIDE]), paddle.randn([PEAK_SIDE, PEAK_SIDE])
    durations: list[float] = []
    while len(durations) < 10 and sum(durations) < 2:
        synchronize()
        start = time.perf_counter()
        paddle.matmul(a, b)
        synchronize()
        durations.append(time.perf_counter() - start)
    return 2 * PEAK_SIDE**3 / min(durations) / 1e9


def paddle_runner(network: AlexNet, image: np.ndarray, label: np.ndarray, config: Config, device: str) -> Runner:
    """The steps of a Paddle network on image [N, 3, S, S] float32 and label [N] int64."""
    x, y = paddle.to_tensor(image), paddle.to_tensor(label)
    optimizer = build_optimizer(network, config.optimizer, config.optimizer.learning_rate)
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
    return Runner(f"paddle {network.lrn}", network, steps, synchronize)


def _mode(step: str) -> str:
    return "eval" if step == "Forward" else "train"


def _now() -> str:
    return datetime.now().isoformat(sep=" ", timespec="milliseconds")
