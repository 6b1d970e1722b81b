"""A simulation of training on several GPUs: images a second, and hours to 90 epochs of ImageNet.

Nothing here is measured. What one GPU computes a second and what the links between them carry are given; the
simulation adds up what the processes wait for each other.
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
_BYTES = 4  # of a number, in float32
_FORWARD = 1 / 3  # of a layer's arithmetic; the backward pass computes two gradients, of its input and its weights

Way = Literal["data", "weird trick"]


class Part(NamedTuple):
    """A layer with weights, and what it takes for one image."""

    name: str
    parameters: int
    share: float  # of the network's multiply-accumulates
    inputs: int  # numbers that it reads
    linear: bool


@dataclass(frozen=True)
class Cluster:
    """What carries the numbers: bytes a second that a GPU can send while it receives as many, and seconds a message."""

    link: float  # within a machine
    network: float  # between machines
    per_machine: int = 8
    latency: float = 0.0

    def all_reduce(self, size: float, gpus: int) -> float:
        """Seconds until every GPU has the sum of all GPUs' `size` bytes, by a ring: reduce-scatter, then all-gather."""
        return 2 * self.all_gather(size, gpus)

    def all_gather(self, size: float, gpus: int) -> float:
        """Seconds until every GPU has all `size` bytes, of which each had its part; a reduce-scatter takes the same.

        Each of the N-1 turns of the ring passes a part of 1/N on, over its slowest link.
        """
        speed = self.link if gpus <= self.per_machine else min(self.link, self.network)
        return (gpus - 1) * (size / gpus / speed + self.latency)


@cache
def parts_of(preset: str) -> tuple[Part, ...]:
    """The layers of a preset that have weights. Raises UserError for an unknown one."""
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
    """Seconds of a training step in which each GPU computes `batch_size` images, each in `image_seconds`.

    - `data`: every GPU has the whole network, and each layer's gradient is summed over all GPUs as soon as the backward
      pass has it; with `overlap` while the pass goes on.
    - `weird trick` (Krizhevsky 2014, arXiv:1404.5997, scheme a): the linear layers are shared out, each GPU having a
      part of the outputs for the images of all. What a linear layer reads is gathered before it, and the gradient of
      that is summed after it; meanwhile all wait.
    """
    forward = batch_size * image_seconds * _FORWARD
    compute = batch_size * image_seconds * (1 - _FORWARD)
    clock = forward * sum(part.share for part in parts)
    shared_out = [part for part in parts if part.linear and way == "weird trick"]

    def exchange(part: Part) -> float:
        return cluster.all_gather(gpus * batch_size * part.inputs * _BYTES, gpus)

    clock += sum(map(exchange, shared_out))
    sent = 0.0  # when the links are free again
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
    """A row for each number of GPUs and way, where one GPU alone trains with `images_per_second`.

    Columns gpus, way, batch (images in a step, of all), step (seconds), images_per_second, efficiency (of what as many
    GPUs would do that never wait) and hours (to 90 epochs of ImageNet).
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
    """The table of `simulate` as text."""
    lines = [
        f"{'GPUs':>4}  {'way':<11} {'batch':>6} {'ms a step':>9} {'images/s':>9} {'efficiency':>10} {'90 epochs':>10}"
    ]
    for row in table.to_dict("records"):
        lines.append(
            f"{row['gpus']:>4}  {row['way']:<11} {row['batch']:>6} {1000 * row['step']:>9.1f} "
            f"{row['images_per_second']:>9.0f} {row['efficiency']:>9.0%}  {row['hours']:>8.1f} h"
        )
    return "\n".join([*lines, "simulated: nothing here is measured"])
