"""Benchmark of a network's passes, like TensorFlow's AlexNet benchmark of 2018.

On random images it times a forward pass, a forward-backward pass (the gradient of an L2 loss of the output with respect
to all parameters) and a training step, each after a warm-up. Several runners (LRN backends, PyTorch) take turns step by
step, because the machine's load may change.
"""

import logging
import platform
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Callable, Literal, Optional

import numpy as np
import paddle
import pandas as pd

from paddle_alexnet.benchmark.runner import PASSES, mode, paddle_runner, time_in_turn
from paddle_alexnet.benchmark.torch_twin import torch_runner
from paddle_alexnet.config.schema import Config
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.kernels.forward import choose_kernels
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.network.structure import describe, format_columns
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.limits import computing_threads

PEAK_SIDE = 2048  # side of the matrices whose product measures the peak

_log = logging.getLogger(__name__)


def benchmark_network(
    preset: str = "paddle2",
    *,
    config: Config,
    num_classes: Optional[int] = None,
    lrn: Optional[Sequence[str]] = None,
    kernels: Optional[Sequence[str]] = None,
    against: Optional[Literal["torch"]] = None,
    batch_size: int = 32,
    burn_in: int = 10,
    steps: int = 100,
) -> dict[str, Any]:
    """Time and log a preset's passes, and return all results as values for JSON, with times in seconds per batch.

    The forward pass is in evaluation mode without gradients, the others are in training mode. Percentages are relative
    to the float32 matrix-product peak of this run. A forward pass counts 2 FLOPs per multiply-accumulate, a pass with
    gradients three times as many, the optimizer none.

    Args:
        config: Config with the device, the seed and the optimizer.
        lrn: LRN backends to compare, for Paddle's kernels; default: `auto`.
        kernels: Kernels to compare; default: `paddle` with `lrn`, else `auto`.

    Raises:
        UserError: A name is unknown, the device or PyTorch is not available, or the network has no LRN to compare.
    """
    if min(batch_size, steps) < 1 or burn_in < 0:
        raise UserError("batch_size and steps must be 1 or more, burn_in 0 or more; choose other numbers")
    device = use_device(config.device)
    paddle.seed(config.train.seed)
    backends = list(dict.fromkeys(choose_backend(name) for name in lrn or ["auto"]))
    computed = list(dict.fromkeys(choose_kernels(name) for name in kernels or ["paddle" if lrn else "auto"]))
    networks = [
        AlexNet(preset, num_classes, backend, kernels=name)
        for name in computed
        for backend in (backends if name == "paddle" else backends[:1])
    ]
    if len(backends) > 1 and networks[-1].lrn == networks[-2].lrn:
        raise UserError(f"preset {preset}: has no LRN to compare backends of; leave out lrn")
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
        "threads": computing_threads(),
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "forward_gflop": flops / 1e9,
    }
    for key, value in environment.items():
        _log.info(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    activations = [
        {"name": name, "type": kind, "shape": list(shape)}
        for name, kind, shape in zip(table["layer"], table["type"], table["output_shape"])
    ]
    for activation in activations:
        _log.info(f"{activation['name']} {activation['type']}   {activation['shape']}")

    durations, peak = {}, measure_peak(runners[0].synchronize)
    for step in PASSES:
        _log.info(f"{step}, network in {mode(step)} mode")
        durations[step] = time_in_turn(runners, step, burn_in=burn_in, steps=steps)
        # Measured again, because a shared machine's speed varies.
        peak = max(peak, measure_peak(runners[0].synchronize))
    results = [
        {
            "step": step,
            "runner": runner.name,
            "mode": mode(step),
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
    return {
        **environment,
        "peak_gflops": peak,
        "activations": activations,
        "results": results,
        "ratios": ratios,
    }


def format_report(report: Mapping[str, Any]) -> str:
    """Return the results of `benchmark_network` as tables."""
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
        "counted: 2 FLOPs per multiply-accumulate, forward 1×, with gradients 3×, the optimizer nothing",
    ]
    if max(result["percent_of_peak"] for result in report["results"]) > 100:
        lines.append("over 100 %: the machine was busy with other work while the peak was measured; measure again")
    lines += [
        f"{ratio['step']}: time of {ratio['time_of']} / time of {ratio['over']} = {ratio['median']:.2f} "
        f"(80 % of the steps within {ratio['p10']:.2f} … {ratio['p90']:.2f})"
        for ratio in report["ratios"]
    ]
    return "\n".join(lines)


def measure_peak(synchronize: Callable[[], object]) -> float:
    """Return the best rate of up to ten float32 matrix products within two seconds, in GFLOP/s."""
    a, b = paddle.randn([PEAK_SIDE, PEAK_SIDE]), paddle.randn([PEAK_SIDE, PEAK_SIDE])
    durations: list[float] = []
    while len(durations) < 10 and sum(durations) < 2:
        synchronize()
        start = time.perf_counter()
        paddle.matmul(a, b)
        synchronize()
        durations.append(time.perf_counter() - start)
    return 2 * PEAK_SIDE**3 / min(durations) / 1e9
