"""How fast a network computes on this machine, timed as TensorFlow's AlexNet benchmark of 2018 does.

Random images; a forward pass, a forward-backward pass (the gradient of an L2 loss of the output with
respect to all parameters) and a training step, each burnt in and then timed. Several runners (LRN
backends, PyTorch) take turns step by step, so that a change in the machine's load meets them all.
"""

import importlib
import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Callable, Literal, Optional, Union

import numpy as np
import paddle
import pandas as pd
from paddle import nn

from paddle_alexnet import presets
from paddle_alexnet.config import Config, OptimizerConfig
from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.lrn import choose_backend
from paddle_alexnet.network import AlexNet
from paddle_alexnet.optim import build_optimizer
from paddle_alexnet.presets import PRESETS
from paddle_alexnet.structure import describe, format_columns, layers

PASSES = {"Forward": 1, "Forward-backward": 3, "Training step": 3}  # counted in forward passes' FLOPs
PEAK_SIDE = 2048  # of the square matrices whose product measures the peak


@dataclass(frozen=True)
class Runner:
    """A network in one framework: `steps` by the names of PASSES, each one batch."""

    name: str
    network: Any
    steps: Mapping[str, Callable[[], object]]
    synchronize: Callable[[], object]


def benchmark(
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
        "threads": _threads(),
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
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot write the results ({error})") from None
    print(f"wrote {path}")


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
    optimizer = build_optimizer(network, config.optimizer, config.schedule)
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

    synchronize = paddle.device.cuda.synchronize if device.startswith("gpu") else _nothing
    steps = dict(zip(PASSES, (forward, forward_backward, training_step)))
    return Runner(f"paddle {network.lrn}", network, steps, synchronize)


def torch_runner(
    network: AlexNet, image: np.ndarray, label: np.ndarray, config: OptimizerConfig, device: str
) -> Runner:
    """The same steps, of the same network with the same weights, in PyTorch with as many threads.

    Raises UserError if PyTorch is not installed, or has no GPU where Paddle computes on one.
    """
    torch = _import_torch()
    if device.startswith("gpu") and not torch.cuda.is_available():
        raise UserError("this PyTorch cannot use the GPU: compare on the CPU with --device cpu")
    place = device.replace("gpu", "cuda")
    torch.set_num_threads(_threads())
    twin = torch_twin(network).to(place)
    x, y = torch.from_numpy(image).to(place), torch.from_numpy(label).to(place)
    weights = [parameter for name, parameter in twin.named_parameters() if name.endswith("weight")]
    biases = [parameter for name, parameter in twin.named_parameters() if name.endswith("bias")]
    bias_decay = config.weight_decay if config.decay_biases else 0.0
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {
            "params": biases,
            "weight_decay": bias_decay,
            "lr": config.learning_rate * config.bias_learning_rate,
        },
    ]
    if config.name == "adam":
        optimizer = torch.optim.Adam(groups, lr=config.learning_rate)
    else:
        momentum = config.momentum if config.name == "momentum" else 0.0
        optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum)

    def forward() -> None:
        with torch.no_grad():
            twin(x)

    def forward_backward() -> None:
        loss = (twin(x) ** 2).sum() / 2
        torch.autograd.grad(loss, list(twin.parameters()))

    def training_step() -> None:
        torch.nn.functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    steps = dict(zip(PASSES, (forward, forward_backward, training_step)))
    return Runner("torch", twin, steps, torch.cuda.synchronize if device.startswith("gpu") else _nothing)


def torch_twin(network: AlexNet) -> Any:
    """The same network in PyTorch with the same weights: image [N, 3, S, S] to logits [N, num_classes].

    Raises UserError if PyTorch is not installed.
    """
    torch = _import_torch()
    module: Any = torch.nn.Module

    class TorchLRN(module):
        def __init__(self, stage: presets.LRN) -> None:
            super().__init__()
            self.stage = stage
            neighbours = stage.size**2 if stage.within_channel else stage.size
            self.alpha = stage.alpha if stage.average else stage.alpha * neighbours  # PyTorch's follows the mean

        def forward(self, x: Any) -> Any:
            size, beta, k = self.stage.size, self.stage.beta, self.stage.k
            if self.stage.within_channel:
                mean = torch.nn.functional.avg_pool2d(x * x, size, 1, size // 2)
                return x * (k + self.alpha * mean) ** -beta
            columns = x.unflatten(1, (self.stage.groups, -1)).flatten(0, 1)  # [N G, C / G, H, W]
            y = torch.nn.functional.local_response_norm(columns, size, self.alpha, beta, k)
            return y.unflatten(0, (-1, self.stage.groups)).flatten(1, 2)

    stages = [stage for stages in PRESETS[network.preset].blocks.values() for stage in stages]
    if network.lrn == "none":
        stages = [stage for stage in stages if not isinstance(stage, presets.LRN)]
    shapes = [(1, 3, network.image_size, network.image_size), *describe(network)["output_shape"]]
    modules: list[Any] = []
    for stage, shape, out, (_, _, layer) in zip(stages, shapes, shapes[1:], layers(network)):
        if isinstance(stage, (presets.Conv, presets.MaxPool)):
            pads = _pads(stage, shape[2], out[2])
            padding = pads[0] if len(set(pads)) == 1 else 0
            if len(set(pads)) > 1:  # which PyTorch's own padding cannot do
                beyond = 0.0 if isinstance(stage, presets.Conv) else -math.inf
                modules.append(torch.nn.ConstantPad2d(pads, beyond))
            if isinstance(stage, presets.Conv):
                geometry = {"stride": stage.stride, "padding": padding, "groups": stage.groups}
                modules.append(torch.nn.Conv2d(shape[1], stage.out_channels, stage.kernel_size, **geometry))
            else:
                modules.append(torch.nn.MaxPool2d(stage.kernel_size, stage.stride, padding))
        elif isinstance(stage, presets.Linear):
            modules.append(torch.nn.Linear(stage.in_features, out[-1]))
        elif isinstance(stage, presets.LRN):
            modules.append(TorchLRN(stage))
        elif isinstance(stage, presets.Dropout):
            modules.append(torch.nn.Dropout(stage.p))
        else:
            modules.append(torch.nn.Flatten() if isinstance(stage, presets.Flatten) else torch.nn.ReLU())
        if isinstance(stage, (presets.Conv, presets.Linear)):
            weight = torch.from_numpy(layer.weight.numpy())
            with torch.no_grad():
                modules[-1].weight.copy_(weight.T if isinstance(stage, presets.Linear) else weight)
                modules[-1].bias.copy_(torch.from_numpy(layer.bias.numpy()))
    return torch.nn.Sequential(*modules)


def _pads(stage: Union[presets.Conv, presets.MaxPool], size: int, out: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding that makes `size` pixels into `out`."""
    if stage.padding == "SAME":
        total = max((out - 1) * stage.stride + stage.kernel_size - size, 0)
        before, after = total // 2, total - total // 2
        return before, after, before, after
    if isinstance(stage.padding, tuple):
        top, bottom, left, right = stage.padding
        return left, right, top, bottom
    return (stage.padding,) * 4


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise UserError('PyTorch is not installed: pip install -e ".[parity]"') from None


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])  # Paddle's own default is 1


def _mode(step: str) -> str:
    return "eval" if step == "Forward" else "train"


def _now() -> str:
    return datetime.now().isoformat(sep=" ", timespec="milliseconds")


def _nothing() -> None:
    pass
