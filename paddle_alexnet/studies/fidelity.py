"""Fidelity of a recipe to the AlexNet of 2012, with each fact measured on the network, optimizer and data.

The references are the paper (Krizhevsky, Sutskever, Hinton 2012), run 145 of the source that the Computer History
Museum released, and BVLC's `bvlc_alexnet`. Run 145 trained the paper's network on ILSVRC-2012. The paper's errors of
37.47/17.00 % are from LSVRC-2010, and that run's log has other epochs (23, 51 and 78).
"""

from dataclasses import dataclass
from typing import Optional

import paddle
import pandas as pd

from paddle_alexnet.config.schema import Config
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.studies.measurements import data_facts, network_facts, optimizer_facts

REFERENCES = {
    "paper": "the paper's text, 2012",
    "source145": "the released source, run 145",
    "caffe": "Caffe, bvlc_alexnet",
}


@dataclass(frozen=True)
class Fact:
    """A fact with its value in each reference; None if the reference does not state it."""

    part: str  # network, optimizer or data
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
    Fact("network", "dropout scales by", *("1 in training, 0.5 at test",) * 2, "2 in training, 1 at test"),
    *(
        Fact("network", f"{name} weight std", *(f"{_STD[reference][i]:g}" for reference in REFERENCES))
        for i, name in enumerate(_LEARNED)
    ),
    *(
        Fact("network", f"{name} bias at the start", *(f"{_BIAS[reference][i]:g}" for reference in REFERENCES))
        for i, name in enumerate(_LEARNED)
    ),
    _same("optimizer", "update rule", "momentum"),
    _same("optimizer", "momentum", "0.9"),
    _same("optimizer", "learning rate enters", "inside the velocity"),
    _same("optimizer", "weight decay", "0.0005"),
    Fact("optimizer", "weight decay of biases", None, "0", "0"),
    _same("optimizer", "learning rate", "0.01"),
    # The log of run 145 does not show whether a change came before or after its epoch. Caffe's 100,000 steps of 256
    # images are 20 epochs of ImageNet, its 360,000 steps are 72.
    Fact(
        "optimizer",
        "learning-rate schedule",
        "×0.1 on plateau",
        "×0.1 after epochs 25, 51, 79",
        "×0.1 after epochs 20, 40, 60",
    ),
    Fact("optimizer", "conv1's own schedule", "none", "1e-05 after epoch 67, 0 after epoch 72", "none"),
    Fact("optimizer", "bias learning rate at the start", "0.01", "0.02", "0.02"),
    Fact("optimizer", "bias learning rate later", "as the weights'", "unchanged, conv1's 0", "as the weights'"),
    Fact("optimizer", "batch size", "128", "128", "256"),
    Fact("optimizer", "epochs", "90", "91", "72"),
    Fact("data", "geometry", "shorter side to 256", "shorter side to 256", "squashed to 256×256"),
    Fact("data", "training crops", "random 224×224", "random 224×224", "random 227×227"),
    _same("data", "horizontal flips", "random"),
    Fact("data", "images in a row that share crop and flip", "1", "32", "1"),
    _same("data", "mean subtracted", "per pixel"),
    Fact("data", "mean image under a crop", None, "its center", "its part under the crop"),
    _same("data", "range of a color after scaling", "255"),
    Fact("data", "color noise", "PCA, 0.1 of the eigenvalues", "PCA, 0.1 of the standard deviations", "none"),
    Fact("data", "images divided after the noise", "no", "by 1.1", "no"),
    Fact("data", "color noise at the end", None, "off", "none"),
)


def compare_with_2012(config: Config) -> pd.DataFrame:
    """Return the verdict on each of `FACTS` for a recipe with its preset's own number of classes.

    Returns:
        Columns part, fact, ours, and for each reference `matches`, `differs (ours … / theirs …)` or
        `not stated (ours …)`.

    Raises:
        UserError: The preset, LRN backend or a quirk is unknown.
    """
    paddle.seed(config.train.seed)
    network = AlexNet(config.model.preset, None, config.model.lrn, quirks=config.model.quirks)
    ours = {**network_facts(network), **data_facts(config, network.image_size), **optimizer_facts(network, config)}
    found = "found in the training images" if config.model.initialization == "kmeans" else ""
    if start := "of another run" if config.model.weights else found:
        ours.update({fact: start for fact in ours if fact.endswith(("weight std", "bias at the start"))})
    return pd.DataFrame(
        {
            "part": fact.part,
            "fact": fact.name,
            "ours": ours[fact.name],
            **{reference: _verdict(ours[fact.name], getattr(fact, reference)) for reference in REFERENCES},
        }
        for fact in FACTS
    )


def format_fidelity(table: pd.DataFrame) -> str:
    """Return the table of `compare_with_2012` as text, with a section per reference and a line per fact."""
    lines = []
    for reference, title in REFERENCES.items():
        matching = (table[reference] == "matches").sum()
        lines.append(f"{title}: {matching} of {len(table)} facts match")
        lines += [
            f"  {fact}: {ours}: matches" if verdict == "matches" else f"* {fact}: {verdict}"
            for fact, ours, verdict in zip(table["fact"], table["ours"], table[reference])
        ]
        lines.append("")
    return "\n".join(lines[:-1])


def _verdict(ours: str, theirs: Optional[str]) -> str:
    if theirs is None:
        return f"not stated (ours {ours})"
    return "matches" if ours == theirs else f"differs (ours {ours} / theirs {theirs})"
