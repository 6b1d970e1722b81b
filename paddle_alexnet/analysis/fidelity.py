"""How far a recipe is from the AlexNet of 2012, fact by fact, measured on the live network and optimiser.

The three references are the paper's text (Krizhevsky, Sutskever, Hinton 2012), run 145 of the source that
the Computer History Museum released, whose logged errors are the paper's, and BVLC's `bvlc_alexnet`. A fact
that a reference does not state is None.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

import paddle
import pandas as pd
from paddle import nn

from paddle_alexnet.analysis.structure import describe
from paddle_alexnet.config import Config
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.network.presets import Conv, Flatten, Linear, NamedStage
from paddle_alexnet.training.optimisers import build_optimizer
from paddle_alexnet.training.schedules import Schedule, build_schedule

REFERENCES = {
    "paper": "the paper's text, 2012",
    "source145": "the released source, run 145",
    "caffe": "Caffe, bvlc_alexnet",
}
NOTE = (
    "note: in 2012 and in Caffe the learning rate is inside the velocity (v = m v - rate g; w += v); Paddle\n"
    "multiplies outside (v = m v + g; w -= rate v). They differ after a change of the rate, until the old\n"
    "velocity has died away."
)


@dataclass(frozen=True)
class Fact:
    part: str  # network, optimiser or data
    name: str
    paper: Optional[str]
    source145: Optional[str]
    caffe: Optional[str]


def _same(part: str, name: str, everywhere: str) -> Fact:
    return Fact(part, name, everywhere, everywhere, everywhere)


_LEARNED = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
_STD = {
    "paper": (0.01,) * 8,
    "source145": (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
    "caffe": (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
}
_BIAS = {
    "paper": (0, 1, 0, 1, 1, 1, 1, 0),
    "source145": (0, 1, 0, 1, 1, 1, 1, 0),
    "caffe": (0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0),
}
_RELU_LRN_POOL = "conv, relu, lrn, pool"

FACTS = (
    Fact("network", "input size", "224", "224", "227"),
    _same("network", "conv1 output", "55×55"),
    _same("network", "channels of conv1 … conv5", "96, 256, 384, 384, 256"),
    _same("network", "kernels of conv1 … conv5", "11/4, 5/1, 3/1, 3/1, 3/1"),
    _same("network", "groups of conv1 … conv5", "1, 2, 1, 2, 2"),
    _same("network", "outputs of fc6 … fc8", "4096, 4096, 1000"),
    _same("network", "parameters", "60,965,224"),
    Fact("network", "order in layer 1", _RELU_LRN_POOL, "conv, lrn, pool, relu", _RELU_LRN_POOL),
    Fact("network", "order in layer 2", _RELU_LRN_POOL, "conv, relu, lrn, spatial_norm, pool", _RELU_LRN_POOL),
    _same("network", "order in layers 3 and 4", "conv, relu; conv, relu"),
    Fact("network", "order in layer 5", "conv, relu, pool", "conv, pool, relu", "conv, relu, pool"),
    _same("network", "order in layers 6 … 8", "fc, relu, dropout; fc, relu, dropout; fc"),
    _same("network", "layers left out of the pass", "none"),
    _same("network", "overlapping pooling, window/stride", "3/2"),
    _same("network", "LRN n", "5"),
    Fact("network", "LRN factor of the sum of squares (α or α/n)", "0.0001", "2e-05", "2e-05"),
    _same("network", "LRN β", "0.75"),
    Fact("network", "LRN k", "2", "2", "1"),
    Fact("network", "LRN across columns", "across", "2 columns apart", "across"),
    _same("network", "LRN beyond the first and last channel", "zeros"),
    Fact("network", "spatial norm", "none", "5×5, scale 0.001, k 1", "none"),
    _same("network", "dropout", "0.5, 0.5"),
    *(
        Fact("network", f"{name} weight std", *(f"{_STD[reference][i]:g}" for reference in REFERENCES))
        for i, name in enumerate(_LEARNED)
    ),
    *(
        Fact("network", f"{name} bias at the start", *(f"{_BIAS[reference][i]:g}" for reference in REFERENCES))
        for i, name in enumerate(_LEARNED)
    ),
    _same("optimiser", "update rule", "Momentum"),
    _same("optimiser", "momentum", "0.9"),
    _same("optimiser", "learning rate enters", "inside the velocity"),
    _same("optimiser", "weight decay", "0.0005"),
    Fact("optimiser", "weight decay of biases", None, "0", "0"),
    _same("optimiser", "learning rate", "0.01"),
    # Caffe's 100,000 steps of 256 images are 20 epochs of ImageNet, its 360,000 are 72.
    Fact(
        "optimiser",
        "learning-rate schedule",
        "×0.1 on plateau",
        "×0.1 after epochs 25, 51, 79",
        "×0.1 after epochs 20, 40, 60",
    ),
    Fact("optimiser", "conv1's own schedule", "none", "1e-5 from epoch 67, 0 from 72", "none"),
    Fact("optimiser", "bias learning rate at the start", "0.01", "0.02", "0.02"),
    Fact("optimiser", "bias learning rate later", "as the weights'", "unchanged (conv1 0)", "as the weights'"),
    Fact("optimiser", "batch size", "128", "128", "256"),
    Fact("optimiser", "epochs", "90", "91", "72"),
    Fact("data", "geometry", *("shorter side to 256, centre 256×256",) * 2, "squashed to 256×256"),
    Fact("data", "training crops", "random 224×224", "random 224×224", "random 227×227"),
    _same("data", "horizontal flips", "random"),
    Fact("data", "mean subtracted", "per pixel", "per pixel, centre-cropped", "per pixel (mean image)"),
    _same("data", "range of a colour after scaling", "255"),
    Fact("data", "colour noise", "PCA, σ 0.1", "PCA, 0.1 on standard deviations, ÷ 1.1, until epoch 67", "none"),
)


def compare_with_2012(config: Config) -> pd.DataFrame:
    """Every fact of FACTS for a recipe, with the network's own number of classes.

    Columns: part, fact, ours, and per reference `matches`, `differs (ours … / theirs …)` or
    `not stated (ours …)`.

    Raises UserError for an unknown preset, LRN backend or quirk.
    """
    paddle.seed(config.train.seed)
    network = AlexNet(config.model.preset, None, config.model.lrn, quirks=config.model.quirks)
    schedule = build_schedule(config.schedule, config.optimizer.learning_rate)
    optimizer = build_optimizer(network, config.optimizer, schedule.rate)
    ours = {**_network(network), **_optimiser(network, optimizer, schedule, config), **_data(network, config)}
    return pd.DataFrame(
        {
            "part": fact.part,
            "fact": fact.name,
            "ours": ours.get(fact.name, "none"),
            **{reference: _verdict(ours.get(fact.name, "none"), getattr(fact, reference)) for reference in REFERENCES},
        }
        for fact in FACTS
    )


def format_fidelity(table: pd.DataFrame) -> str:
    """The table of `compare_with_2012` as text, a section per reference, a line per fact."""
    lines = []
    for reference, title in REFERENCES.items():
        matching = (table[reference] == "matches").sum()
        lines.append(f"{title}: {matching} of {len(table)} facts match")
        lines += [
            f"  {fact}: {ours}: matches" if verdict == "matches" else f"* {fact}: {verdict}"
            for fact, ours, verdict in zip(table["fact"], table["ours"], table[reference])
        ]
        lines.append("")
    return "\n".join([*lines, NOTE])


def _verdict(ours: str, theirs: Optional[str]) -> str:
    if theirs is None:
        return f"not stated (ours {ours})"
    return "matches" if ours == theirs else f"differs (ours {ours} / theirs {theirs})"


def _network(network: AlexNet) -> dict[str, str]:
    table = describe(network)
    orders = _orders(network.stages)
    sequence = [layer for _, layer in network.named_layers()]
    convs = [layer for layer in sequence if isinstance(layer, nn.Conv2D)]
    linears = [layer for layer in sequence if isinstance(layer, nn.Linear)]
    norms = [layer for layer in sequence if isinstance(layer, LRN) and not layer.within_channel]
    spatial = [layer for layer in sequence if isinstance(layer, LRN) and layer.within_channel]
    facts = {
        "input size": str(network.image_size),
        "conv1 output": "×".join(map(str, table.loc[table["type"] == "Conv2D", "output_shape"].iloc[0][2:])),
        "channels of conv1 … conv5": ", ".join(str(conv.weight.shape[0]) for conv in convs),
        "kernels of conv1 … conv5": ", ".join(f"{conv.weight.shape[2]}/{conv._stride[0]}" for conv in convs),
        "groups of conv1 … conv5": ", ".join(str(conv._groups) for conv in convs),
        "outputs of fc6 … fc8": ", ".join(str(linear.weight.shape[1]) for linear in linears),
        "parameters": f"{table['parameters'].sum():,}",
        "order in layer 1": orders[0],
        "order in layer 2": orders[1],
        "order in layers 3 and 4": "; ".join(orders[2:4]),
        "order in layer 5": orders[4],
        "order in layers 6 … 8": "; ".join(orders[5:]),
        "layers left out of the pass": _all(table.loc[table["output_shape"].isna(), "layer"]),
        "overlapping pooling, window/stride": _all(
            f"{layer.ksize}/{layer.stride}" for layer in sequence if isinstance(layer, nn.MaxPool2D)
        ),
        "LRN n": _all(str(norm.size) for norm in norms),
        "LRN factor of the sum of squares (α or α/n)": _all(f"{norm.sum_scale:g}" for norm in norms),
        "LRN β": _all(f"{norm.beta:g}" for norm in norms),
        "LRN k": _all(f"{norm.k:g}" for norm in norms),
        "LRN across columns": _all("across" if norm.groups == 1 else f"{norm.groups} columns apart" for norm in norms),
        "LRN beyond the first and last channel": _all(
            "left out of the mean" if norm.exclusive else "zeros" for norm in norms
        ),
        "spatial norm": _all(f"{norm.size}×{norm.size}, scale {norm.mean_scale:g}, k {norm.k:g}" for norm in spatial),
        "dropout": ", ".join(f"{layer.p:g}" for layer in sequence if isinstance(layer, nn.Dropout)) or "none",
    }
    for stage, layer in network.named_layers():
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            facts[f"{stage.name} weight std"] = _std(layer.weight)
            facts[f"{stage.name} bias at the start"] = _constant(layer.bias)
    return facts


def _optimiser(
    network: AlexNet, optimizer: paddle.optimizer.Optimizer, schedule: Schedule, config: Config
) -> dict[str, str]:
    parameters = list(network.named_parameters())
    weights = [parameter for name, parameter in parameters if name.endswith("weight")]
    biases = [parameter for name, parameter in parameters if name.endswith("bias")]

    def rate(parameter: paddle.Tensor) -> str:
        return f"{optimizer.get_lr() * parameter.optimize_attr['learning_rate']:g}"

    momentum = isinstance(optimizer, paddle.optimizer.Momentum)
    return {
        "update rule": type(optimizer).__name__,
        "momentum": f"{optimizer._momentum:g}" if momentum else "none",
        "learning rate enters": "outside the velocity" if momentum else "no velocity",
        "weight decay": _all(_decay(optimizer, weight) for weight in weights),
        "weight decay of biases": _all(_decay(optimizer, bias) for bias in biases),
        "learning rate": _all(map(rate, weights)),
        "learning-rate schedule": schedule.description,
        "bias learning rate at the start": _all(map(rate, biases)),
        "bias learning rate later": "as the weights'",  # a multiple of the one rate that there is
        "batch size": str(config.train.batch_size),
        "epochs": str(config.train.epochs),
    }


def _data(network: AlexNet, config: Config) -> dict[str, str]:
    data, size = config.data, network.image_size
    patch = data.resize or size
    geometry = {
        "squash": f"squashed to {patch}×{patch}",
        "crop": f"shorter side to {patch}, centre {patch}×{patch}",
        "random_resized_crop": "a random part",
    }
    random = data.geometry == "random_resized_crop" or patch > size
    means = {
        "given": f"per colour {', '.join(f'{255 * mean:.1f}' for mean in data.mean)}",
        "channel": "per colour, as measured",
        "pixel": "per pixel, centre-cropped",
        "pixel_at_crop": "per pixel (mean image)",
    }
    noise = {
        "eigenvalues": f"PCA, σ {data.pca_noise:g}",
        "deviations": f"PCA, {data.pca_noise:g} on standard deviations",
    }
    return {
        "geometry": geometry[data.geometry],
        "training crops": f"random {size}×{size}" if random else "none",
        "horizontal flips": "random" if data.horizontal_flip else "none",
        "mean subtracted": means[data.normalise],
        "range of a colour after scaling": "as measured"
        if data.normalise == "channel"
        else _all(f"{1 / std:.3g}" for std in data.std),
        "colour noise": noise[data.pca_scale] if data.pca_noise else "none",
    }


def _orders(stages: list[NamedStage]) -> list[str]:
    """The order from one convolution or linear layer to the next, such as `conv, relu, pool`."""
    orders: list[list[str]] = []
    for *_, stage in stages:
        if isinstance(stage, (Conv, Linear)):
            orders.append([])
        if not isinstance(stage, Flatten):
            orders[-1].append(stage.kind)
    return [", ".join(order) for order in orders]


def _all(values: Iterable[str]) -> str:
    """The different values, in order; `none` without any."""
    return ", ".join(dict.fromkeys(values)) or "none"


def _std(weight: paddle.Tensor) -> str:
    """The standard deviation of a weight, rounded to one digit where that is within five standard errors."""
    measured = float(weight.numpy().std())
    nearest = float(f"{measured:.1g}")
    error = nearest / math.sqrt(2 * math.prod(weight.shape))
    return f"{nearest:g}" if abs(measured - nearest) < 5 * error else f"{measured:.3g}"


def _constant(bias: paddle.Tensor) -> str:
    values = bias.numpy()
    return f"{values[0]:g}" if (values == values[0]).all() else f"{values.min():.2g} … {values.max():.2g}"


def _decay(optimizer: paddle.optimizer.Optimizer, parameter: paddle.Tensor) -> str:
    """The L2 decay of a parameter: its own, else the optimiser's, which Momentum keeps apart to fuse it."""
    regularizer = parameter.regularizer or optimizer.regularization
    return f"{regularizer._coeff if regularizer else getattr(optimizer, '_regularization_coeff', 0.0):g}"
