"""What is timed: a network in one framework, with the passes that it can be asked for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

PASSES = {"Forward": 1, "Forward-backward": 3, "Training step": 3}  # counted in forward passes' FLOPs


@dataclass(frozen=True)
class Runner:
    """A network in one framework: `steps` by the names of PASSES, each one batch."""

    name: str
    network: Any
    steps: Mapping[str, Callable[[], object]]
    synchronize: Callable[[], object]


def threads() -> int:
    """The threads that Paddle computes with, its own default being one."""
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])


def nothing() -> None:
    """What a CPU has to wait for."""
