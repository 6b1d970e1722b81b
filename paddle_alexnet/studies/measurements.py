"""Measurements of a recipe's network, optimizer and data, as texts by the names of `fidelity.FACTS`."""

import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn
from PIL import Image

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.table import read_table
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.network.presets import NamedStage
from paddle_alexnet.system.files import write_csv
from paddle_alexnet.training.optimizers import build_optimizer
from paddle_alexnet.training.parameter_groups import ParameterRule, resolve_groups
from paddle_alexnet.training.schedules import build_schedule


def together(values: Iterable[str]) -> str:
    """Return the unique values in order, or `none`."""
    return ", ".join(dict.fromkeys(values)) or "none"


class _Passed(NamedTuple):
    """A layer and its shapes in a forward pass."""

    stage: NamedStage
    layer: nn.Layer
    shape: tuple[int, ...]
    output_shape: tuple[int, ...]


class _Norm(NamedTuple):
    """A normalization y = x / (k + a * S) ** beta, measured from its inputs and outputs."""

    channels: int  # number of channels in the sum S
    side: int  # side of the square of pixels in the sum S
    a: float
    beta: float
    k: float
    columns: int  # number of separately normalized columns
    border: str


def network_facts(network: AlexNet) -> dict[str, str]:
    """Measure the order and behavior of a network's layers, and its initial weights."""
    passed = _pass(network)
    convs, linears, pools, dropouts, norms = (
        [step for step in passed if isinstance(step.layer, kind)]
        for kind in (nn.Conv2D, nn.Linear, nn.MaxPool2D, nn.Dropout, LRN)
    )
    measured = [_norm(step.layer, step.shape[1]) for step in norms]
    across, spatial = ([norm for norm in measured if (norm.side > 1) is wide] for wide in (False, True))
    dropped = [_dropout(step.layer) for step in dropouts]
    left_out = [stage.name for stage, _ in network.named_layers() if stage not in [step.stage for step in passed]]
    orders: list[list[str]] = []
    for step in passed:
        if isinstance(step.layer, (nn.Conv2D, nn.Linear)):
            orders.append([])
        if not isinstance(step.layer, nn.Flatten):
            orders[-1].append(step.stage.stage.kind)
    order = [", ".join(kinds) for kinds in orders]
    facts = {
        "input size": str(network.image_size),
        "conv1 output": "×".join(map(str, convs[0].output_shape[2:])),
        "channels of conv1 … conv5": ", ".join(str(step.output_shape[1]) for step in convs),
        "kernels of conv1 … conv5": ", ".join(f"{s.layer.weight.shape[2]}/{s.layer._stride[0]}" for s in convs),
        "groups of conv1 … conv5": ", ".join(str(step.shape[1] // step.layer.weight.shape[1]) for step in convs),
        "outputs of fc6 … fc8": ", ".join(str(step.output_shape[1]) for step in linears),
        "parameters": f"{sum(math.prod(parameter.shape) for parameter in network.parameters()):,}",
        "order in layer 1": order[0],
        "order in layer 2": order[1],
        "order in layers 3 and 4": "; ".join(order[2:4]),
        "order in layer 5": order[4],
        "order in layers 6 … 8": "; ".join(order[5:]),
        "layers left out of the pass": together(left_out),
        "overlapping pooling, window/stride": together(f"{step.layer.ksize}/{step.layer.stride}" for step in pools),
        "LRN n": together(str(norm.channels) for norm in across),
        "LRN factor of the sum of squares (α or α/n)": together(f"{norm.a:.3g}" for norm in across),
        "LRN β": together(f"{norm.beta:.3g}" for norm in across),
        "LRN k": together(f"{norm.k:.3g}" for norm in across),
        "LRN across columns": together(
            "across" if norm.columns == 1 else f"{norm.columns} columns apart" for norm in across
        ),
        "LRN beyond the first and last channel": together(norm.border for norm in across),
        "spatial norm": together(f"{n.side}×{n.side}, scale {n.a * n.side**2:.3g}, k {n.k:.3g}" for n in spatial),
        "dropout": ", ".join(share for share, _ in dropped) or "none",
        "dropout scales by": together(scales for _, scales in dropped),
    }
    for stage, layer in network.named_layers():
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            facts[f"{stage.name} weight std"] = _std(layer.weight)
            facts[f"{stage.name} bias at the start"] = _constant(layer.bias)
    return facts


def _pass(network: AlexNet) -> list[_Passed]:
    """Return the layers in the order of a forward pass."""
    passed: list[_Passed] = []

    def record(stage: NamedStage, layer: nn.Layer, inputs: Any, output: paddle.Tensor) -> None:
        passed.append(_Passed(stage, layer, tuple(inputs[0].shape), tuple(output.shape)))

    hooks = [layer.register_forward_post_hook(partial(record, stage)) for stage, layer in network.named_layers()]
    with paddle.no_grad():
        network(paddle.zeros([1, 3, network.image_size, network.image_size]))
    for hook in hooks:
        hook.remove()
    return passed


def _norm(layer: LRN, channels: int) -> _Norm:
    def denominators(x: np.ndarray) -> np.ndarray:
        """Return (k + a * S) ** beta for nonzero x [N, C, H, W]."""
        with paddle.no_grad():
            return x / layer(paddle.to_tensor(x)).numpy().astype(np.float64)

    # S is the square of a single large value.
    def alone(value: float) -> float:
        x = np.full((1, channels, 11, 11), 1e-3, np.float32)
        x[0, channels // 4, 5, 5] = value
        return float(denominators(x)[0, channels // 4, 5, 5])

    small, large, larger = (alone(value) for value in (1e-3, 1e7, 1e8))
    beta = math.log(larger / large) / math.log(1e2)
    k, a = small ** (1 / beta), large ** (1 / beta) / 1e14

    # Outputs that depend on one value with a * S = 5 k.
    loud = np.float32(math.sqrt(5 * k / a))
    quiet = np.ones((channels, channels, 1, 1), np.float32)
    x = quiet * np.where(np.eye(channels, dtype=bool), loud, np.float32(1))[:, :, None, None]
    notices = np.abs(denominators(x) / denominators(quiet) - 1)[:, :, 0, 0] > 0.01  # [loud channel, channel]
    x = np.ones((1, channels, 11, 11), np.float32)
    before = denominators(x)
    x[0, channels // 4, 5, 5] = loud
    pixels = np.abs(denominators(x) / before - 1)[0, channels // 4] > 0.01

    # The number of values in the first channel's sum, if all values are equal.
    alike = denominators(np.full((1, channels, 1, 1), loud, np.float32))[0, 0, 0, 0]
    counted = round((alike ** (1 / beta) - k) / (5 * k))
    return _Norm(
        channels=int(notices.sum(axis=1).max()),
        side=math.isqrt(int(pixels.sum())),
        a=a,
        beta=beta,
        k=k,
        columns=1 + int((~notices.diagonal(1)).sum()),
        border="zeros" if counted == notices[:, 0].sum() else "left out of the mean",
    )


def _dropout(layer: nn.Layer) -> tuple[str, str]:
    """Return the share that dropout drops, and its scales in training and evaluation."""
    ones, training = paddle.ones([1, 40_000]), layer.training
    layer.train()
    values = layer(ones).numpy()
    layer.eval()
    tested = layer(ones).numpy()
    layer.training = training
    return f"{(values == 0).mean():.1g}", f"{values.max():.3g} in training, {tested.max():.3g} at test"


def _std(weight: paddle.Tensor) -> str:
    """Return a weight's standard deviation, with one digit if that is within five standard errors."""
    measured = float(weight.numpy().std())
    nearest = float(f"{measured:.1g}")
    error = nearest / math.sqrt(2 * math.prod(weight.shape))
    return f"{nearest:g}" if abs(measured - nearest) < 5 * error else f"{measured:.3g}"


def _constant(bias: paddle.Tensor) -> str:
    values = bias.numpy()
    return f"{values[0]:g}" if (values == values[0]).all() else f"{values.min():.2g} … {values.max():.2g}"


def optimizer_facts(network: AlexNet, config: Config) -> dict[str, str]:
    """Measure the optimizer by its updates for known gradients; this destroys the network's weights.

    An optimizer updates each number independently, so four numbers of each parameter suffice.
    """
    _shrink(network)
    decay = config.optimizer.weight_decay
    rules = resolve_groups(network.weights_and_biases(), config.optimizer)
    optimizer = build_optimizer(config.optimizer, rules, 1.0)
    first = _updates(rules, optimizer, weights=[0, 0, 1, 1], gradients=[1, 2, 0, -decay])
    second = _updates(rules, optimizer, weights=[0] * 4, gradients=[0] * 4)
    optimizer.set_lr(0.1)
    third = _updates(rules, optimizer, weights=[0] * 4, gradients=[0] * 4)
    one, two, *_ = first["conv1.weight"]
    linear = math.isclose(two, 2 * one, rel_tol=1e-3)
    momentum = second["conv1.weight"][0] / one if linear else 0.0
    enters = "no velocity"
    if momentum:
        kept = third["conv1.weight"][0] / second["conv1.weight"][0] / momentum
        enters = "inside the velocity" if kept > 0.9 else "outside the velocity"
    rates = _rates(network, config, improving=True)
    on_plateau = _rates(network, config, improving=False)
    later = on_plateau if _changes(on_plateau["conv2.weight"]) and not _changes(rates["conv2.weight"]) else rates
    weights, biases = ([name for name in rates if name.endswith(part)] for part in ("weight", "bias"))
    return {
        "update rule": ("momentum" if momentum else "gradient descent") if linear else "adaptive",
        "momentum": f"{momentum:.3g}" if linear else "none",
        "learning rate enters": enters,
        "weight decay": together(_decay(first[name], decay) for name in weights),
        "weight decay of biases": together(_decay(first[name], decay) for name in biases),
        "learning rate": together(f"{rates[name][0]:.3g}" for name in weights),
        "learning-rate schedule": _schedule(rates["conv2.weight"], on_plateau["conv2.weight"]),
        "conv1's own schedule": _own_schedule(rates["conv1.weight"], rates["conv2.weight"]),
        "bias learning rate at the start": together(f"{rates[name][0]:.3g}" for name in biases),
        "bias learning rate later": _bias_rate_later(later),
        "epochs": str(config.train.epochs),
    }


def _shrink(network: AlexNet) -> None:
    """Replace each weight and bias by four numbers with the same rate, decay and name."""
    for _, layer in network.named_layers():
        for name, parameter in list(layer.named_parameters(include_sublayers=False)):
            four = paddle.create_parameter([4], "float32")
            four.optimize_attr, four.regularizer = dict(parameter.optimize_attr), parameter.regularizer
            setattr(layer, name, four)


def _updates(
    rules: Sequence[ParameterRule],
    optimizer: paddle.optimizer.Optimizer,
    *,
    weights: Sequence[float],
    gradients: Sequence[float],
) -> dict[str, np.ndarray]:
    """Return how far a step lowers the four numbers of each parameter, float64 [4]."""
    before, gradient = np.array(weights, np.float32), paddle.to_tensor(gradients, "float32")
    for rule in rules:
        rule.parameter.set_value(before)
    paddle.add_n([(rule.parameter * gradient).sum() for rule in rules]).backward()
    optimizer.step()
    optimizer.clear_grad()
    return {rule.name: before - rule.parameter.numpy().astype(np.float64) for rule in rules}


def _decay(moved: np.ndarray, decay: float) -> str:
    """Return the weight decay of a parameter, from its updates at 1 with gradients 0 and -decay."""
    if moved[2] == 0:
        return "0"
    if math.isclose(moved[2], decay, rel_tol=1e-3) and not math.isclose(moved[3], 0, abs_tol=1e-3 * decay):
        return f"{decay:g}, apart from the gradient"
    return f"{decay:g}" if abs(moved[3]) < 1e-3 * abs(moved[2]) else f"another than {decay:g}"


def _rates(network: AlexNet, config: Config, *, improving: bool) -> dict[str, list[float]]:
    """Return the learning rate of each parameter by epoch, from plain SGD's last update with a gradient of 1."""
    epochs, steps = config.train.epochs, 2
    rules, rate = resolve_groups(network.weights_and_biases(), config.optimizer), config.optimizer.learning_rate
    schedule = build_schedule(config.schedule, rules, learning_rate=rate, epochs=epochs, steps=steps)
    optimizer = build_optimizer(replace(config.optimizer, name="sgd", weight_decay=0.0), rules, schedule.rate)
    for callback in schedule.callbacks:
        callback.set_model(SimpleNamespace(_optimizer=optimizer))
        callback.on_train_begin({})
    rates: dict[str, list[float]] = {}
    logging.getLogger(build_schedule.__module__).disabled = True  # hides messages on plateaus, which concern no run
    for epoch in range(epochs):
        for step in range(steps):
            for callback in schedule.callbacks:
                callback.on_train_batch_begin(step, {})
            moved = _updates(rules, optimizer, weights=[0] * 4, gradients=[1] * 4)
            for callback in schedule.callbacks:
                callback.on_train_batch_end(step, {"loss": 1.0})
        for name, updates in moved.items():
            rates.setdefault(name, []).append(float(f"{updates[0]:.4g}"))
        for callback in schedule.callbacks:
            callback.on_epoch_end(epoch, {"loss": 1.0})
            callback.on_eval_end({"loss": 1.0 - 0.001 * epoch if improving else 1.0})
    logging.getLogger(build_schedule.__module__).disabled = False
    return rates


def _changes(rates: Sequence[float]) -> list[tuple[int, float]]:
    """Return the epochs after which a rate changes, and the new rates."""
    return [(epoch, after) for epoch, (before, after) in enumerate(zip(rates, rates[1:]), 1) if before != after]


def _schedule(rates: Sequence[float], on_plateau: Sequence[float]) -> str:
    if changes := _changes(rates):
        factors = together(f"×{rates[epoch] / rates[epoch - 1]:.3g}" for epoch, _ in changes)
        return f"{factors} after epochs {', '.join(str(epoch) for epoch, _ in changes)}"
    if changes := _changes(on_plateau):
        return together(f"×{on_plateau[epoch] / on_plateau[epoch - 1]:.3g}" for epoch, _ in changes) + " on plateau"
    return "constant"


def _own_schedule(rates: Sequence[float], others: Sequence[float]) -> str:
    if list(rates) == list(others):
        return "none"
    return ", ".join(f"{rate:g} after epoch {epoch}" for epoch, rate in _changes(rates) if rate != others[epoch])


def _bias_rate_later(rates: dict[str, list[float]]) -> str:
    """Describe the biases' later rates relative to the weights', with conv2 for all layers except the first."""
    first, bias, weight = rates["conv1.bias"], rates["conv2.bias"], rates["conv2.weight"]
    if all(math.isclose(b / bias[0], w / weight[0], rel_tol=1e-3) for b, w in zip(bias, weight)):
        text = "as the weights'"
    else:
        text = "unchanged" if not _changes(bias) else f"{bias[-1]:g} at the end"
    return text if first[-1] == bias[-1] else f"{text}, conv1's {first[-1]:g}"


# Two drawn images of 320×256: red changes linearly over the width, green over the height, and blue is constant.
_WIDTH, _HEIGHT = 320, 256
_RED, _GREEN, _BLUE = [(0, 255), (200, 80)], [(0, 255), (30, 180)], [60, 200]


def data_facts(config: Config, image_size: int) -> dict[str, str]:
    """Measure the loaders on drawn images: in levels of 0..255, normalized, and with color noise."""
    levels: dict[str, Any] = {
        "normalize": "given",
        "mean": (0.0, 0.0, 0.0),
        "std": (1 / 255, 1 / 255, 1 / 255),
        "pca_noise": 0.0,
    }
    others: dict[str, Any] = {"color_jitter": 0.0, "random_erasing": 0.0, "mixup": 0.0}
    with TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        _draw(root, count=min(max(config.train.batch_size + 1, 128), 1024))

        def loaders(**changes: Any) -> tuple[Loader, Loader]:
            data = replace(config.data, root=None, csv=None, classes=None, verify=False, cache="none")
            data = replace(data, cache_folder=folder, **others, **changes)
            return open_loaders(replace(config, data=data), read_table(root), image_size, on_device=False)

        (train, val), (clean, clean_val), (noisy, _) = loaders(**levels), loaders(pca_noise=0.0), loaders()
        raw, label = _batch(train)
        normalized, _ = _batch(clean)
        seen, evaluated = _seen(raw, label), _seen(*_batch(val))
        scale, mean = _normalization(*(_batch(loader)[0] for loader in (val, clean_val)))
        means = raw - normalized / scale
        facts = {
            "batch size": str(len(label) * config.train.accumulate),
            "geometry": _geometry(evaluated[0], random=np.ptp(np.abs(seen[:, 1])) > 0.05),
            **_crops(seen, image_size),
            "mean subtracted": "per pixel" if np.ptp(mean, axis=(1, 2)).max() > 2 else _colors(config, mean),
            "mean image under a crop": "none",
            "range of a color after scaling": together(f"{255 * part:.3g}" for part in scale.ravel()),
            "color noise": "none",
            "images divided after the noise": "no",
            "color noise at the end": "none",
        }
        if config.data.normalize == "channel":
            facts["range of a color after scaling"] = "as measured"
        if facts["mean subtracted"] == "per pixel":
            alike = np.ptp(means, axis=0).max() < 2
            facts["mean image under a crop"] = "its center" if alike else "its part under the crop"
        with_noise, _ = _batch(noisy)
        if not np.array_equal(with_noise, normalized):
            red = zip(normalized[:, 0, ::8, ::8], with_noise[:, 0, ::8, ::8])
            kept = float(np.median([np.polyfit(before.ravel(), after.ravel(), 1)[0] for before, after in red]))
            noise = (with_noise / kept - normalized).mean(axis=(2, 3)) / scale[:, 0, 0]  # [N, 3], levels
            patches, _ = train.dataset.patches(range(len(train.dataset)))
            facts["color noise"] = _noise(noise, patches)
            facts["images divided after the noise"] = f"by {1 / kept:.3g}" if abs(1 / kept - 1) > 1e-3 else "no"
            clean.epoch = noisy.epoch = config.train.epochs - 1
            still = not np.array_equal(_batch(noisy)[0], _batch(clean)[0])
            facts["color noise at the end"] = "as before" if still else "off"
        return facts


def _draw(root: Path, *, count: int) -> None:
    """Write a data set of the two images: `count` copies for training, and one of each for validation."""
    across, down = np.meshgrid(np.linspace(0, 1, _WIDTH), np.linspace(0, 1, _HEIGHT))
    root.mkdir()
    rows = []
    for label, (red, green, blue) in enumerate(zip(_RED, _GREEN, _BLUE)):
        planes = [red[0] + (red[1] - red[0]) * across, green[0] + (green[1] - green[0]) * down, blue + 0 * across]
        Image.fromarray(np.stack(planes, axis=2).round().astype(np.uint8)).save(root / f"{label}.png")
        rows.append([f"{label}.png", label, "val"])
    for number in range(2, count + 2):
        shutil.copyfile(root / f"{number % 2}.png", root / f"{number}.png")
        rows.append([f"{number}.png", number % 2, "train"])
    write_csv(root / "labels.csv", ["filename", "label", "split"], rows)


def _batch(loader: Loader) -> tuple[np.ndarray, np.ndarray]:
    """Return the first 128 images of an epoch's first batch, float64 [N, 3, S, S], and all its labels."""
    image, label = next(iter(loader))
    return image[:128].numpy().astype(np.float64), label.numpy()


def _seen(levels: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return each image's place in its drawn image, [N, 4]: x of the first column, x per column, and the same for y."""
    places = []
    for image, which in zip(levels, label):
        place: list[float] = []
        for plane, (low, high), length in ((image[0], _RED[which], _WIDTH), (image[1].T, _GREEN[which], _HEIGHT)):
            along = (plane.mean(axis=0) - low) / (high - low) * (length - 1)  # drawn pixels
            slope, start = np.polyfit(np.arange(len(along)), along, 1)
            place += [start, slope]
        places.append(place)
    return np.array(places)


def _geometry(place: np.ndarray, *, random: bool) -> str:
    """Describe the geometry of an evaluated image."""
    if random:
        return "a random part"
    _, across, _, down = place
    if abs(across / down - 1) > 0.05:
        return f"squashed to {_WIDTH / across:.0f}×{_HEIGHT / down:.0f}"
    return f"shorter side to {_HEIGHT / down:.0f}"


def _crops(seen: np.ndarray, image_size: int) -> dict[str, str]:
    """Describe crops and flips of training images from their places."""
    flipped = seen[:, 1] < 0
    left = np.where(flipped, seen[:, 0] + seen[:, 1] * (image_size - 1), seen[:, 0])
    corners = [(round(x), round(y), bool(flip)) for x, y, flip in zip(left, seen[:, 2], flipped)]
    runs = [len(list(alike)) for _, alike in groupby(corners)]
    cropped = len({corner[:2] for corner in corners}) > 1
    return {
        "training crops": f"random {image_size}×{image_size}" if cropped else "none",
        "horizontal flips": "random" if 0 < flipped.sum() < len(flipped) else "none",
        "images in a row that share crop and flip": str(min(runs[:-1])) if len(runs) > 1 else "all",
    }


def _normalization(levels: np.ndarray, normalized: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale [3, 1, 1] and the mean [3, S, S] of normalization, from two images before and after."""
    difference, scaled = levels[1] - levels[0], normalized[1] - normalized[0]
    scale = (scaled * difference).sum(axis=(1, 2)) / (difference**2).sum(axis=(1, 2))
    return scale[:, None, None], levels[0] - normalized[0] / scale[:, None, None]


def _colors(config: Config, mean: np.ndarray) -> str:
    if config.data.normalize == "channel":
        return "per color, as measured"
    return f"per color {', '.join(f'{part.mean():.1f}' for part in mean)}"


def _noise(noise: np.ndarray, patches: np.ndarray) -> str:
    """Describe color noise [N, 3] relative to the principal components of the patches."""
    values, vectors = np.linalg.eigh(np.cov(np.moveaxis(patches, 1, 0).reshape(3, -1)))
    sizes = np.sqrt(((noise @ vectors) ** 2).mean(axis=0))
    multiples = {"standard deviations": sizes / np.sqrt(values), "eigenvalues": sizes * 255 / values}
    of = min(multiples, key=lambda name: np.ptp(np.log(multiples[name])))
    return f"PCA, {np.median(multiples[of]):.1g} of the {of}"
