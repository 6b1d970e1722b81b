"""Preparation of a run: checks that need no image, the seed, the network, and the state of a resumed run."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np
import paddle

from paddle_alexnet.config.recipe import with_absolute_paths
from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.demo import DEMO_NAME, is_demo
from paddle_alexnet.data.pipeline import open_table
from paddle_alexnet.data.table import ImageFiles, ImageTable
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.runs.run_folder import RunFolder, run_of
from paddle_alexnet.runs.train_state import Saved
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.training.distributed import first_before_others, rank
from paddle_alexnet.training.initial_weights import InitialWeights, choose_initial_weights
from paddle_alexnet.training.parameter_groups import ParameterRule, resolve_groups
from paddle_alexnet.training.resume import check_same_run, check_same_sizes, find_state, identify_images


@dataclass
class RunSetup:
    """A checked run: its folder, data, network and initial weights."""

    config: Config  # the user's, with absolute paths
    folder: RunFolder
    device: str
    resumed: bool
    table: ImageTable
    data: str  # name or path of the data set
    fingerprint: str  # of the table
    files: ImageFiles  # sizes, times and a hash of its images
    network: AlexNet
    rules: tuple[ParameterRule, ...]
    initial: Optional[InitialWeights]  # of a new run, until they are set
    saved: Optional[Saved]  # of a resumed run, until it is restored

    def identify_images(self, *sets: PatchDataset) -> None:
        """Record the hash of the image files that were read, and compare it with a resumed run's."""
        saved, workers = self.saved if rank() == 0 else None, self.config.data.workers
        self.files = identify_images(saved, self.files, sets, workers=workers)


def prepare_run(config: Config, *, device: str, resume: Optional[Path], given: Optional[ImageTable] = None) -> RunSetup:
    """Check all that needs no image, seed, and build the network.

    Args:
        given: Table of the data sets that `train` was given; default: the configured data set.

    Raises:
        UserError: The run would fail later, or `resume` does not match the config.
    """
    check_amp(config, device)
    set_cudnn_search(config, device)
    seed_everything(config.train.seed)
    folder = RunFolder(run_of(resume) if resume else config.output)
    if rank() == 0:
        folder.check()
    saved = find_state(resume) if resume else None
    with first_before_others():  # rank 0 may draw the demo set
        table = open_table(config.data, beside=folder.path) if given is None else given
    data, files = table.fingerprint(), table.image_files()
    model, kernels = config.model, config.model.kernels
    if saved and kernels == "auto":  # a resumed run keeps its kernels
        kernels = str(saved.state.config.get("model.kernels", "paddle"))
    network = AlexNet(model.preset, len(table.classes), model.lrn, quirks=model.quirks, kernels=kernels)
    if not saved and rank() == 0:
        check_space(folder, network, config)
    rules = resolve_groups(network.weights_and_biases(), config.optimizer)
    if saved:
        check_same_run(saved, config, data, network.spec)
        check_same_sizes(saved, files)
    return RunSetup(
        config=with_absolute_paths(replace(config, output=str(folder.path))),
        folder=folder,
        device=device,
        resumed=resume is not None,
        table=table,
        data=DEMO_NAME if is_demo(table.classes) else str(table.csv),
        fingerprint=data,
        files=files,
        network=network,
        rules=rules,
        initial=None if saved else choose_initial_weights(config, table),
        saved=saved,
    )


def check_space(folder: RunFolder, network: AlexNet, config: Config) -> None:
    """Raise UserError if the disk has no room for the checkpoints; the run would fail after its first epoch."""
    weights = sum(parameter.size for parameter in network.parameters()) * 4
    moments = {"adam": 2, "adamw": 2, "sgd": 0}.get(config.optimizer.name, 1)
    state, kept = weights * (1 + moments + bool(config.train.ema)), config.train.keep_checkpoints
    states = 2 if kept == 1 else kept + 2  # `last`, the kept ones, and one being written
    needed = weights * 2 + state * states  # the best checkpoint, its inference model, and the states
    nearest = next(path for path in (folder.path, *folder.path.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise UserError(
            f"{folder.path}: requires {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "set output to a folder on another disk"
        )


def check_amp(config: Config, device: str) -> None:
    """Raise UserError for mixed precision that the device, the average or the optimizer does not support."""
    amp = config.train.amp
    if amp == "none":
        return
    if not device.startswith("gpu"):
        raise UserError(f"train.amp={amp}: requires a GPU, the device is {device}; use train.amp=none")
    if amp == "O2" and config.train.ema:
        raise UserError("train.amp=O2: float16 weights are too coarse for train.ema; use train.amp=O1")
    if amp == "O2" and config.optimizer.name == "momentum_2012":
        raise UserError(
            "train.amp=O2: requires float32 weights in the optimizer, which momentum_2012 does not keep; use "
            "train.amp=O1 or optimizer.name=momentum"
        )


def set_cudnn_search(config: Config, device: str) -> None:
    """Let cuDNN choose the fastest algorithms if the config says so, or raise UserError without a GPU."""
    if not config.train.cudnn_search:
        return
    if not device.startswith("gpu"):
        raise UserError(f"train.cudnn_search=true: requires a GPU, the device is {device}; set it to false")
    paddle.set_flags({"FLAGS_cudnn_exhaustive_search": True})


def seed_everything(seed: int) -> None:
    """Seed the generators of Paddle, NumPy and Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)


IMBALANCE = 10  # times as many images of one class as of another
FACTOR = 8  # times the usual learning rate
CUT = 1.5  # times the network's input
_USUAL_ADAM = {"adam": 1e-4, "adamw": 3e-4}  # for this network; Adam's steps hardly depend on the batch size
_USUAL, _USUAL_BATCH = 0.01, 128  # the paper's, with momentum 0.9; proportional to the batch size (Goyal et al. 2017)


def recipe_warnings(config: Config, table: ImageTable) -> Iterator[str]:
    """Yield a warning for each unusual class balance, warm-up, crop margin, batch size or learning rate."""
    labels = table.labels[table.rows("train")]
    counts = np.bincount(labels, minlength=len(table.classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[least] == 0:
        none = [name for name, count in zip(table.classes.names, counts) if not count]
        more = f" and {len(none) - 1} more" if len(none) > 1 else ""
        yield f"the train split has no image of {none[0]}{more}; the network cannot learn such a class"
    elif counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"the train split has {counts[most]} images of {table.classes.names[most]}, {counts[least]} of "
            f"{table.classes.names[least]}; the accuracy hardly reflects rare classes"
        )
    warmup, epochs = config.schedule.warmup_epochs, config.train.epochs
    if warmup >= epochs:
        yield (
            f"schedule.warmup_epochs {warmup} is not less than train.epochs {epochs}; the learning rate never reaches "
            f"{config.optimizer.learning_rate:g}"
        )
    size, patch = PRESETS[config.model.preset].image_size, config.data.resize or 0
    if patch > CUT * size:
        yield (
            f"data.resize {patch} is more than {CUT} times the input size {size} of {config.model.preset}; evaluation "
            f"sees only the central {(size / patch) ** 2:.0%} of an image; {round(size * 8 / 7)} is usual"
        )
    batch, rate = config.train.batch_size, config.optimizer.learning_rate
    if batch > len(labels):
        yield f"train.batch_size {batch} is more than the {len(labels)} images of the train split; an epoch is one step"
        batch = len(labels)
    batch = min(batch * config.train.accumulate, len(labels))
    name = config.optimizer.name
    usual = _USUAL_ADAM.get(name)
    if usual is None:
        momentum = 0.0 if name == "sgd" else config.optimizer.momentum
        usual = _USUAL * (1 - momentum) / (1 - 0.9) * batch / _USUAL_BATCH
    for odd, is_odd in (("high", rate > FACTOR * usual), ("low", rate < usual / 1000)):
        if is_odd:
            yield f"optimizer.learning_rate {rate:g} is {odd} for {name} with batch size {batch}; {usual:.1g} is usual"
