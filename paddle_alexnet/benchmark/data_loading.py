"""Benchmark of the data loader's stages, compared with plain loaders in the same run."""

import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from copy import copy
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from random import random, randrange
from typing import Any, Callable, Optional

import numpy as np
import paddle
import pandas as pd
from paddle.vision import transforms
from PIL import Image

from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.cache import open_cache
from paddle_alexnet.data.dataset import PatchDataset, UnreadableImages
from paddle_alexnet.data.demo import draw_demo
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.data.threads import in_threads
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.progress import progress

# The paper's crops and flips.
CHANGES = DataConfig(geometry="crop", resize=256, horizontal_flip=True)
PREPROCESS = Preprocess(224, CHANGES.mean, CHANGES.std, geometry="crop", resize=256)
PLAIN = "plain loader"  # straightforward code with Pillow and NumPy
VISION = "paddle.vision loader"

_log = logging.getLogger(__name__)


def benchmark_loader(
    root: Optional[Path] = None,
    csv: Optional[Path] = None,
    *,
    workers: Sequence[int] = (1, 2),
    batch_size: int = 32,
    images: int = 256,
    repeats: int = 3,
    device: str = "auto",
) -> pd.DataFrame:
    """Time the stages of loading up to `images` training images, by default of the demo set; the stages take turns.

    Returns:
        Columns stage, workers, images_per_second (best of `repeats`) and times_plain (relative to the plain loader).

    Raises:
        UserError: The data set is not found or unreadable.
    """
    on_device = use_device(device).startswith("gpu")
    with tempfile.TemporaryDirectory() as scratch:
        if root is None:
            root = Path(scratch) / "demo"
            draw_demo(root)
        dataset = PatchDataset(read_table(root, csv), "train", PREPROCESS)
        dataset.rows, dataset.labels = dataset.rows[:images], dataset.labels[:images]
        place = "normalized on the GPU" if on_device else "on the CPU"
        _log.info(f"{len(dataset)} images of {root}, batches of {batch_size}, {place}; best of {repeats}")
        stages = {
            (name, count): stage
            for count in workers
            for name, stage in _stages(dataset, Path(scratch), count, batch_size, on_device).items()
        }
        seconds = dict.fromkeys(stages, float("inf"))
        rounds = [each for _ in range(repeats) for each in stages.items()]
        for key, stage in progress(rounds, what="loading", total=len(rounds), unit="stage"):
            started = time.perf_counter()
            stage()
            if on_device:
                paddle.device.cuda.synchronize()
            seconds[key] = min(seconds[key], time.perf_counter() - started)
    return pd.DataFrame(
        [(*key, len(dataset) / taken, seconds[PLAIN, key[1]] / taken) for key, taken in seconds.items()],
        columns=["stage", "workers", "images_per_second", "times_plain"],
    )


def format_loading(table: pd.DataFrame) -> str:
    """Return the table of `benchmark_loader` as text."""
    return "\n".join(
        f"{row['stage']:<24} {row['workers']:>2} workers {row['images_per_second']:>9.1f} images/s "
        f"{row['times_plain']:>6.2f} × plain"
        for row in table.to_dict("records")
    )


def _stages(
    dataset: PatchDataset, scratch: Path, workers: int, batch_size: int, on_device: bool
) -> dict[str, Callable[[], object]]:
    """Each stage as a function that takes every image through it; each but `collate` does what comes before it too."""
    numbers = range(len(dataset))
    with redirect_stderr(StringIO()):
        cached_set = copy(dataset)
        cached_set.decoded = open_cache(
            "disk", dataset, scratch / "cache", unreadable=UnreadableImages(), workers=workers
        )

    def loader(dataset: PatchDataset) -> Loader:
        return Loader(
            dataset,
            PREPROCESS,
            batch_size=batch_size,
            shuffle=True,
            workers=workers,
            augmentation=CHANGES,
            on_device=on_device,
        )

    def in_turn(function: Callable[[int], object]) -> Callable[[], object]:
        return lambda: [None for _ in in_threads(function, numbers, workers=workers)]

    files, cached = loader(dataset), loader(cached_set)
    fast: dict[str, Callable[[], object]] = {}
    if find_spec("simplejpeg"):
        by_simplejpeg = copy(dataset)
        by_simplejpeg.preprocess = PREPROCESS.decoded_by("simplejpeg")
        simplejpeg = loader(by_simplejpeg)
        fast["whole loader, simplejpeg"] = lambda: [None for _ in simplejpeg]
    first = list(numbers[:batch_size])
    chunks = [files.prepare(first, epoch=0)]

    def in_batches(one: Callable[[Path], Any], stack: Callable[[list[Any]], object]) -> None:
        """Load images one by one in threads, and call `stack` on each batch."""
        batch = []
        for n, image in enumerate(in_threads(lambda n: one(dataset.path(n)), numbers, workers=workers), start=1):
            batch.append(image)
            if len(batch) == batch_size or n == len(dataset):
                stack(batch)
                batch = []

    return {
        "read": in_turn(lambda n: dataset.path(n).read_bytes()),
        "decode": in_turn(lambda n: PREPROCESS.patch(dataset.path(n))),
        "transform": in_turn(lambda n: files.prepare([n], epoch=0)),
        "transform, cached": in_turn(lambda n: cached.prepare([n], epoch=0)),
        "collate": lambda: [files.collate(chunks, step=0, epoch=0) for _ in range(0, len(dataset), len(first))],
        "whole loader": lambda: [None for _ in files],
        **fast,
        "whole loader, cached": lambda: [None for _ in cached],
        PLAIN: lambda: in_batches(plain_image, lambda images: paddle.to_tensor(np.stack(images))),
        VISION: lambda: in_batches(vision_image, paddle.stack),
    }


def plain_image(path: Path) -> np.ndarray:
    """Return the paper's crop and flip of an image, float32 [3, 224, 224], with Pillow and NumPy."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.BILINEAR)
    left, top = randrange(image.width - 223), randrange(image.height - 223)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)))
    if random() < 0.5:
        pixels = pixels[:, ::-1]
    levels = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    levels *= PREPROCESS.scale
    levels += PREPROCESS.offset
    return levels


def vision_image(path: Path) -> paddle.Tensor:
    """Return the same as `plain_image` with `paddle.vision.transforms`."""
    with Image.open(path) as file:
        return _VISION(file.convert("RGB"))


_VISION = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.RandomCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(list(CHANGES.mean), list(CHANGES.std)),
    ]
)
