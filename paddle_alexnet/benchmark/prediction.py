"""Benchmark of exported presets in Paddle Inference, PyTorch and ONNX Runtime.

Weights and images are random. The engines of a preset take turns batch by batch, because the machine's load may
change; the best time of each counts.
"""

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import numpy as np
import paddle
import pandas as pd

from paddle_alexnet.benchmark.network_passes import PEAK_SIDE, measure_peak
from paddle_alexnet.benchmark.runner import nothing
from paddle_alexnet.benchmark.torch_twin import torch_twin
from paddle_alexnet.config.choices import one_of
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.exporting.jit import save_program
from paddle_alexnet.exporting.onnx import onnx_file
from paddle_alexnet.inference.onnx_runtime import MODEL, OnnxRuntime
from paddle_alexnet.inference.paddle_inference import PaddleInference
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.lrn import choose_backend
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.network.structure import describe, format_columns
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.limits import computing_threads
from paddle_alexnet.system.progress import working

CHOSEN = "oneDNN"  # the default engine of exported models
OTHER_WAYS = ("plain",)
SLOWER = 1.1  # ratio to another of Paddle's engines that should exceed measurement noise

_log = logging.getLogger(__name__)


def benchmark_prediction(
    presets: Sequence[str] = (), *, batch_sizes: Sequence[int] = (1, 32), steps: int = 5
) -> dict[str, Any]:
    """Time presets (default: all) on the CPU, and return all results as values for JSON.

    The engines are Paddle Inference with oneDNN (the default) and without it (`plain`), and, if installed, PyTorch in
    its dynamic graph and ONNX Runtime. Percentages are relative to the best float32 matrix product of this run.

    Raises:
        UserError: A preset is unknown.
    """
    for preset in presets:
        one_of(preset, PRESETS, what="preset")
    use_device("cpu")
    rows: list[dict[str, Any]] = []
    peak = 0.0
    for preset in presets or PRESETS:
        network = AlexNet(preset, lrn=choose_backend("auto", job="jit"))
        network.eval()
        gflop = 2 * int(describe(network, 1)["macs"].sum()) / 1e9  # per image
        with working(f"{preset}: building its engines"):
            engines = _engines(network)
        for batch_size in batch_sizes:
            shape = (batch_size, 3, network.image_size, network.image_size)
            image = np.random.default_rng(0).standard_normal(shape, np.float32)
            with working(f"{preset}: batches of {batch_size}"):
                seconds = _time_in_turn(engines, image, steps)
                peak = max(peak, measure_peak(nothing))
            rows += [
                {
                    "preset": preset,
                    "batch_size": batch_size,
                    "engine": engine,
                    "ms": 1000 * taken,
                    "images_per_s": batch_size / taken,
                    "gflops": batch_size * gflop / taken,
                    "slower": engine == CHOSEN and taken > SLOWER * min(seconds[way] for way in OTHER_WAYS),
                }
                for engine, taken in seconds.items()
            ]
            _log.info(f"{preset}, {batch_size}: " + ", ".join(f"{n} {1000 * s:.1f} ms" for n, s in seconds.items()))
    for row in rows:
        row["percent_of_peak"] = 100 * row["gflops"] / peak
    return {"threads": computing_threads(), "paddle": paddle.__version__, "peak_gflops": peak, "results": rows}


def format_predictions(report: Mapping[str, Any]) -> str:
    """Return the results of `benchmark_prediction` as a table with a row per preset and batch size."""
    table = pd.DataFrame(report["results"])
    rows = []
    for (preset, batch_size), group in table.groupby(["preset", "batch_size"], sort=False):
        ms = dict(zip(group["engine"], group["ms"]))
        chosen = group[group["engine"] == CHOSEN].iloc[0]
        row = {
            "preset": preset,
            "images": str(batch_size),
            **{f"{name}, ms": f"{value:.1f}" for name, value in ms.items()},
        }
        row["% of peak"] = f"{chosen['percent_of_peak']:.0f}"
        for name in ("PyTorch", "ONNX Runtime"):
            if name in ms:
                row[f"{name} / {CHOSEN}"] = f"{ms[name] / ms[CHOSEN]:.2f}"
        rows.append({**row, "": "SLOWER than plain" if chosen["slower"] else ""})
    return "\n".join(
        [
            format_columns(pd.DataFrame(rows), left=1),
            f"best of the batches, {report['threads']} threads; {CHOSEN} is the default engine of exported models",
            f"peak: {report['peak_gflops']:.0f} GFLOP/s, the best {PEAK_SIDE}³ float32 matrix product in this run",
        ]
    )


def _engines(network: AlexNet) -> dict[str, Callable[[np.ndarray], object]]:
    """Return the engines that compute the network's logits, by name."""
    classes = ClassList.unnamed(network.num_classes)
    preprocess = Preprocess(network.image_size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    metadata = Metadata(network.spec, classes, preprocess, Origin("a benchmark"), kind="inference")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_program(network, metadata, folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    engines: dict[str, Callable[[np.ndarray], object]] = {
        CHOSEN: PaddleInference(files, source=folder),
        "plain": PaddleInference(files, source=folder, onednn=False),
    }
    if find_spec("torch"):
        engines["PyTorch"] = _torch_engine(network)
    if find_spec("onnx") and find_spec("onnxruntime"):
        engines["ONNX Runtime"] = OnnxRuntime({MODEL: onnx_file(network, metadata)}, source=folder)
    return engines


def _torch_engine(network: AlexNet) -> Callable[[np.ndarray], object]:
    import torch

    torch.set_num_threads(computing_threads())
    twin = torch_twin(network).eval()

    def compute(image: np.ndarray) -> object:
        with torch.no_grad():
            return twin(torch.from_numpy(image)).numpy()

    return compute


def _time_in_turn(
    engines: Mapping[str, Callable[[np.ndarray], object]], image: np.ndarray, steps: int
) -> dict[str, float]:
    """Return the best seconds for a batch by engine, after a warm-up batch."""
    best = dict.fromkeys(engines, float("inf"))
    for step in range(-1, steps):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine(image)
            if step >= 0:
                best[name] = min(best[name], time.perf_counter() - started)
    return best
