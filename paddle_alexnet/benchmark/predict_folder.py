"""Benchmark of predicting a folder of images, compared with a plain PyTorch script."""

import logging
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import numpy as np
from PIL import Image

from paddle_alexnet.benchmark.torch_twin import torch_twin
from paddle_alexnet.config.choices import one_of
from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.image_files import find_images
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.exporting.exporter import export_network
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.limits import computing_threads
from paddle_alexnet.system.progress import working

USUAL = DataConfig()  # for its mean and std
OURS, PLAIN = "predict", "plain PyTorch"

_log = logging.getLogger(__name__)


def benchmark_folder(preset: str, folder: Path, *, batch_size: int = 32, repeats: int = 3) -> dict[str, Any]:
    """Time the prediction of all images below a folder on the CPU, and return all results as values for JSON.

    A network with random weights predicts as an exported model and, if installed, in PyTorch. The PyTorch script
    decodes with Pillow and NumPy in as many `DataLoader` processes as there are threads. Both take turns; the best time
    of each counts.

    Raises:
        UserError: The preset is unknown, or the folder has no images.
    """
    one_of(preset, PRESETS, what="preset")
    use_device("cpu")
    paths = find_images([folder])
    network = AlexNet(preset, 10, "auto")
    network.eval()
    preprocess = Preprocess(network.image_size, USUAL.mean, USUAL.std, draft=False)
    metadata = Metadata(network.spec, ClassList.unnamed(10), preprocess, Origin("a benchmark"))
    with tempfile.TemporaryDirectory() as name:
        export_network(network, metadata, Path(name) / "model")
        predictor = Predictor(Path(name) / "model", device="cpu")
    programs: dict[str, Callable[[], int]] = {
        OURS: lambda: sum(1 for _ in predictor.predict(paths, batch_size=batch_size))
    }
    if find_spec("torch"):
        programs[PLAIN] = _in_torch(network, paths, batch_size)
    seconds = dict.fromkeys(programs, float("inf"))
    for _ in range(repeats):
        for name, program in programs.items():
            started = time.perf_counter()
            with working(f"{name}: predicting {len(paths)} images"):
                assert program() == len(paths)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            _log.info(f"{name}: {len(paths) / seconds[name]:.1f} images/s at best")
    rates = {name: len(paths) / taken for name, taken in seconds.items()}
    report = {"preset": preset, "images": len(paths), "threads": computing_threads(), "images_per_s": rates}
    return {**report, "times_plain": rates[OURS] / rates[PLAIN]} if PLAIN in rates else report


def format_folder(report: dict[str, Any]) -> str:
    """Return the results of `benchmark_folder` as text."""
    lines = [f"{report['images']} images through {report['preset']}, {report['threads']} threads, best of the rounds"]
    lines += [f"{name:<14}{rate:>8.1f} images/s" for name, rate in report["images_per_s"].items()]
    if "times_plain" in report:
        lines.append(f"{OURS} is {report['times_plain']:.2f} times as fast as {PLAIN}")
    return "\n".join(lines)


def _in_torch(network: AlexNet, paths: Sequence[Path], batch_size: int) -> Callable[[], int]:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(computing_threads())
    twin = torch_twin(network).eval()
    loader = DataLoader(_Files(paths, network.image_size), batch_size=batch_size, num_workers=computing_threads())

    def predict() -> int:
        answers = 0
        with torch.no_grad():
            for image in loader:
                answers += len(torch.softmax(twin(image), 1).numpy())
        return answers

    return predict


class _Files:
    """A PyTorch data set of images, float32 [3, S, S], as in a plain script."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self._paths, self._size = paths, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        with Image.open(self._paths[index]) as image:
            small = image.convert("RGB").resize((self._size, self._size), Image.Resampling.BILINEAR)
        pixels = np.asarray(small, np.float32) / 255
        return ((pixels - np.array(USUAL.mean, np.float32)) / np.array(USUAL.std, np.float32)).transpose(2, 0, 1)
