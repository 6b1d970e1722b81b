"""Simulation of training on several GPUs: images per second, and hours for 90 epochs of ImageNet.

One GPU's rate and the links' bandwidth are inputs; the simulation adds the times that processes wait for each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import pandas as pd

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.structure import describe

IMAGENET = 1_281_167  # images of LSVRC-2012's training set
EPOCHS = 90
_BYTES = 4  # float32
_FORWARD = 1 / 3  # share of the arithmetic; the backward pass computes two gradients, of the input and the weights

Way = Literal["data", "weird trick"]


class Part(NamedTuple):
    """A layer with weights, and its cost for one image."""

    name: str
    parameters: int
    share: float  # share of the network's multiply-accumulates
    inputs: int  # size of the layer's input
    linear: bool


@dataclass(frozen=True)
class Cluster:
    """The links of a cluster, which carry data in both directions at once."""

    link: float  # bytes per second between GPUs of a machine
    network: float  # bytes per second between machines
    per_machine: int = 8
    latency: float = 0.0  # seconds per message

    def all_reduce(self, size: float, gpus: int) -> float:
        """Return the seconds of a ring all-reduce of `size` bytes: reduce-scatter, then all-gather."""
        return 2 * self.all_gather(size, gpus)

    def all_gather(self, size: float, gpus: int) -> float:
        """Return the seconds of a ring all-gather, or reduce-scatter, of `size` bytes in total.

        Each of the N-1 turns of the ring sends 1/N of the data over its slowest link.
        """
        speed = self.link if gpus <= self.per_machine else min(self.link, self.network)
        return (gpus - 1) * (size / gpus / speed + self.latency)


@cache
def parts_of(preset: str) -> tuple[Part, ...]:
    """Return the layers of a preset that have weights."""
    network = AlexNet(preset)
    rows = [row for row in describe(network).to_dict("records") if row["output_shape"]]  # a quirk may leave one out
    inputs, total, parts = 3 * network.image_size**2, sum(row["macs"] for row in rows), []
    for row in rows:
        if row["parameters"]:
            linear = row["type"] == "Linear"
            parts.append(Part(row["layer"], row["parameters"], row["macs"] / total, inputs, linear))
        inputs = math.prod(row["output_shape"][1:])
    return tuple(parts)


def step_seconds(
    parts: Sequence[Part],
    *,
    gpus: int,
    batch_size: int,
    image_seconds: float,
    cluster: Cluster,
    way: Way = "data",
    overlap: bool = True,
) -> float:
    """Return the seconds of a training step.

    Args:
        image_seconds: Seconds that one GPU takes for one image.
        way: `data`: each GPU has the whole network, and each gradient is all-reduced when the backward pass has
            computed it. `weird trick` (Krizhevsky 2014, arXiv:1404.5997, scheme a): each GPU has a part of every linear
            layer's outputs; all GPUs wait while the layer's inputs are gathered and their gradients summed.
        overlap: Whether gradients are sent during the backward pass.
    """
    forward = batch_size * image_seconds * _FORWARD
    compute = batch_size * image_seconds * (1 - _FORWARD)
    clock = forward * sum(part.share for part in parts)
    shared_out = [part for part in parts if part.linear and way == "weird trick"]

    def exchange(part: Part) -> float:
        return cluster.all_gather(gpus * batch_size * part.inputs * _BYTES, gpus)

    clock += sum(map(exchange, shared_out))
    sent = 0.0  # time when the links become free
    for part in reversed(parts):
        clock += compute * part.share
        if part in shared_out:
            clock += exchange(part)
        else:
            start = max(sent, clock)
            sent = start + cluster.all_reduce(part.parameters * _BYTES, gpus)
            clock = clock if overlap else sent
    return max(clock, sent)


def simulate(
    preset: str,
    *,
    gpus: Sequence[int],
    batch_size: int,
    images_per_second: float,
    cluster: Cluster,
    overlap: bool = True,
) -> pd.DataFrame:
    """Simulate training on each number of GPUs in each way; `batch_size` and `images_per_second` are those of one GPU.

    Returns:
        Columns gpus, way, batch (images per step), step (seconds), images_per_second, efficiency (relative to GPUs that
        never wait) and hours (for 90 epochs of ImageNet).
    """
    parts, rows = parts_of(preset), []
    ways: tuple[Way, ...] = ("data", "weird trick")
    for count in gpus:
        for way in ways:
            seconds = step_seconds(
                parts,
                gpus=count,
                batch_size=batch_size,
                image_seconds=1 / images_per_second,
                cluster=cluster,
                way=way,
                overlap=overlap,
            )
            rate = count * batch_size / seconds
            efficiency = rate / (count * images_per_second)
            rows.append((count, way, count * batch_size, seconds, rate, efficiency, EPOCHS * IMAGENET / rate / 3600))
    columns = ["gpus", "way", "batch", "step", "images_per_second", "efficiency", "hours"]
    return pd.DataFrame(rows, columns=columns)


def format_scaling(table: pd.DataFrame) -> str:
    """Return the table of `simulate` as text."""
    lines = [
        f"{'GPUs':>4}  {'way':<11} {'batch':>6} {'ms/step':>9} {'images/s':>9} {'efficiency':>10} {'90 epochs':>10}"
    ]
    for row in table.to_dict("records"):
        lines.append(
            f"{row['gpus']:>4}  {row['way']:<11} {row['batch']:>6} {1000 * row['step']:>9.1f} "
            f"{row['images_per_second']:>9.0f} {row['efficiency']:>9.0%}  {row['hours']:>8.1f} h"
        )
    return "\n".join([*lines, "simulated, not measured"])
