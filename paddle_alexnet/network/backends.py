"""Several implementations (backends) of one layer, as a table: what each can be used for, and which one to take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

import paddle

from paddle_alexnet.config.choices import one_of

PADDLE = int(paddle.__version__.split(".")[0])  # the major version


@dataclass(frozen=True)
class Backend:
    """An implementation, and for each job the major versions of Paddle in which it computes the right numbers."""

    compute: Callable[[Any, paddle.Tensor], paddle.Tensor]  # layer, x -> y
    train: tuple[int, ...] = (2, 3)  # in the dynamic graph, which evaluates too
    jit: tuple[int, ...] = (2, 3)  # exported by `paddle.jit`
    onnx: tuple[int, ...] = (2, 3)  # exported to ONNX


def usable(backends: Mapping[str, Backend], job: str) -> list[str]:
    """The backends that this Paddle can use for a job (`train`, `jit` or `onnx`), in the order of the table."""
    return [name for name, backend in backends.items() if PADDLE in getattr(backend, job)]


def choose(backends: Mapping[str, Backend], name: str, *, job: str, what: str) -> str:
    """The backend for a job: the one asked for, or the first usable one where it is `auto` or cannot do the job.

    Raises UserError for an unknown name.
    """
    one_of(name, ("auto", *backends), what=what)
    possible = usable(backends, job)
    return name if name in possible else possible[0]
