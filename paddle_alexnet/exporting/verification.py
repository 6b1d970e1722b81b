"""Verification of an exported model against its network, on the same images, in every available engine."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Optional

import numpy as np
import paddle

from paddle_alexnet.data.demo import DEMO_CLASSES, demo_picture
from paddle_alexnet.data.image_files import spread_indices
from paddle_alexnet.data.table import read_table
from paddle_alexnet.inference.engine import Engine, LiveNetwork, log_softmax, ways_to_run
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.environment import environment
from paddle_alexnet.runs.metadata import Check, Metadata, Proof
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import progress, working

TOLERANCE = 1e-5  # relative to the largest logit or 1, whichever is larger
PICTURES = 64
LATENCIES = (1, 32)  # batch sizes that are timed
_BATCH = 32
_TIMES = 3


class Unproven(UserError):
    """An exported model that differs from its network; `proof` holds the measurements."""

    def __init__(self, message: str, proof: Proof) -> None:
        super().__init__(message)
        self.proof = proof


@dataclass(frozen=True)
class Pictures:
    """Preprocessed images, float32 [N, 3, S, S], and a description of their source."""

    image: np.ndarray
    words: str


def noise(metadata: Metadata) -> Pictures:
    """Return two images of noise, for a quick check."""
    size = metadata.preprocess.image_size
    return Pictures(np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32), "2 images of noise")


def pictures(metadata: Metadata, root: Optional[Path] = None) -> Pictures:
    """Return up to 64 images of the val split in `root`, by default the model's, else drawn images.

    Raises:
        UserError: `root` is given and holds no val split.
    """
    preprocess = metadata.preprocess
    try:
        table = read_table(*metadata.origin.dataset(root), metadata.classes)
        rows = table.rows("val")
        rows = rows[spread_indices(len(rows), PICTURES)]
        names = progress(table.filenames[rows], what="reading images to compare on", total=len(rows))
        found = np.stack([preprocess.pixels(table.root / name) for name in names])
        words = f"{len(found)} images of the val split of {metadata.origin.data if root is None else table.csv}"
    except UserError as error:
        if root is not None:
            raise
        drawn = [demo_picture(DEMO_CLASSES[n % len(DEMO_CLASSES)], seed=n) for n in range(PICTURES)]
        found = np.stack([preprocess.pixels(picture) for picture in drawn])
        words = f"{len(found)} drawn images, because the val split is not found ({error})"
    return Pictures(preprocess.batch(found), words)


def prove(
    network: AlexNet, metadata: Metadata, files: Mapping[str, bytes], shown: Pictures, *, source: Path, quick: bool
) -> Proof:
    """Compare an exported model with its network, which must be in evaluation mode.

    Args:
        files: Contents of the exported folder by file name.
        source: Path of the folder, for errors.
        quick: Whether to run only the default engine, without times.

    Raises:
        Unproven: The model does not run in an engine, or its output differs from the network's.
    """

    def timing(what: str) -> AbstractContextManager[None]:
        return nullcontext() if quick else working(f"comparing and timing {what}")

    live = LiveNetwork(network)
    sizes = () if quick else LATENCIES if metadata.batch_size is None else (metadata.batch_size,)
    with timing("the network itself"):
        expected = _answers(live, shown.image)
        checks = [Check("the network itself", 0.0, 1.0, _times(live, shown.image, sizes))]
    if metadata.output == "probabilities":
        expected = np.exp(log_softmax(expected))
    left_out: dict[str, str] = {}
    for name, open_engine in ways_to_run(files, metadata, source=source).items():
        try:
            with timing(name):
                engine = open_engine()
                found = _answers(engine, shown.image)
                difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
                agreement = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
                checks.append(Check(name, difference, agreement, _times(engine, shown.image, sizes)))
        except Exception as error:  # Paddle raises many kinds
            left_out[name] = _line(error)
        if quick:
            break
    about = {} if quick else environment(paddle.device.get_device())
    about.pop("command", None)
    proof = Proof(shown.words, tuple(checks), left_out, sum(map(len, files.values())), about)
    for name, reason in left_out.items():
        if "bfloat16" not in name:
            raise Unproven(f"{source}: the exported model does not run in {name} ({reason}); not kept", proof)
    if not proof.difference <= TOLERANCE:  # also if it is NaN
        raise Unproven(
            f"{source}: the exported model differs from the network by {proof.difference:.1e}, "
            f"more than {TOLERANCE:.0e} of the largest logit; not kept",
            proof,
        )
    return proof


def _line(error: Exception) -> str:
    """Return the last line of an error; in Paddle's errors, earlier lines hold the stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "".join(c for c in (lines or [type(error).__name__])[-1][:200] if c.isprintable())


def _answers(engine: Engine, image: np.ndarray) -> np.ndarray:
    return np.concatenate([engine(image[start : start + _BATCH]) for start in range(0, len(image), _BATCH)])


def _times(engine: Engine, image: np.ndarray, sizes: tuple[int, ...]) -> dict[int, float]:
    """Return the median time of a batch in milliseconds, by batch size."""
    return {size: median(_durations(engine, np.resize(image, (size, *image.shape[1:])))) for size in sizes}


def _durations(engine: Engine, image: np.ndarray) -> Iterator[float]:
    engine(image)  # warm-up
    for _ in range(_TIMES):
        start = time.perf_counter()
        engine(image)
        yield 1000 * (time.perf_counter() - start)
