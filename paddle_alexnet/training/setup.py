"""Preparation of a run: every refusal that needs no image, the seed, and the state that a resumed run starts from."""

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
from paddle_alexnet.data.dataset import ImageDataset
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
    """A run that may begin: where it is written, what it trains on and from, and its untrained network."""

    config: Config  # as the user made it, its paths absolute
    folder: RunFolder
    device: str
    resumed: bool
    table: ImageTable
    data: str  # the data set, in words
    fingerprint: str  # of the table
    files: ImageFiles  # sizes, times and a hash of the images that it reads
    network: AlexNet
    rules: tuple[ParameterRule, ...]
    initial: Optional[InitialWeights]  # what a new run starts from, until it has
    saved: Optional[Saved]  # what a resumed run starts from, until it has

    def identify_images(self, *sets: ImageDataset) -> None:
        """Take down the hash of the images' bytes that were read, and compare it with a resumed run's."""
        saved, workers = self.saved if rank() == 0 else None, self.config.data.workers
        self.files = identify_images(saved, self.files, sets, workers=workers)


def prepare_run(config: Config, *, device: str, resume: Optional[Path]) -> RunSetup:
    """Check everything that can be checked before an image is read, seed, and build the network.

    Raises:
        UserError: The run would fail later, or `resume` cannot be resumed as the config says.
    """
    check_amp(config, device)
    set_cudnn_search(config, device)
    seed_everything(config.train.seed)
    folder = RunFolder(run_of(resume) if resume else config.output)
    if rank() == 0:
        folder.check()
    saved = find_state(resume) if resume else None
    with first_before_others():  # the demo set may have to be drawn
        table = open_table(config.data, beside=folder.path)
    data, files = table.fingerprint(), table.image_files()
    model, kernels = config.model, config.model.kernels
    if saved and kernels == "auto":  # a resumed run keeps the kernels it began with
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
    """Raise UserError if the disk has no room for what the run writes: it would fail after its first epoch."""
    weights = sum(parameter.size for parameter in network.parameters()) * 4
    moments = {"adam": 2, "adamw": 2, "sgd": 0}.get(config.optimizer.name, 1)
    state, kept = weights * (1 + moments + bool(config.train.ema)), config.train.keep_checkpoints
    states = 2 if kept == 1 else kept + 2  # `last`, what is kept, and one that is being written
    needed = weights * 2 + state * states  # the best checkpoint, its inference model, and the states
    nearest = next(path for path in (folder.path, *folder.path.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        needs = f"a run needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free: name another disk as output"
        raise UserError(f"{folder.path}: {needs}")


def check_amp(config: Config, device: str) -> None:
    """Raise UserError for mixed precision that would have no effect, or the wrong one."""
    amp = config.train.amp
    if amp == "none":
        return
    if not device.startswith("gpu"):
        raise UserError(
            f"train.amp={amp} computes in float16 on a GPU and has no effect on {device}: use train.amp=none"
        )
    if amp == "O2" and config.train.ema:
        raise UserError("train.amp=O2 keeps the weights in float16, too coarse for train.ema: use train.amp=O1")
    if amp == "O2" and config.optimizer.name == "momentum_2012":
        raise UserError(
            "train.amp=O2 needs an optimizer with float32 weights of its own, which momentum_2012 has not: use "
            "train.amp=O1 or optimizer.name=momentum"
        )


def set_cudnn_search(config: Config, device: str) -> None:
    """Have cuDNN choose its algorithms by time where the recipe asks for it. Raises UserError without a GPU."""
    if not config.train.cudnn_search:
        return
    if not device.startswith("gpu"):
        raise UserError(f"train.cudnn_search=true has no effect on {device}: use train.cudnn_search=false, or a GPU")
    paddle.set_flags({"FLAGS_cudnn_exhaustive_search": True})


def seed_everything(seed: int) -> None:
    """Seed every generator that weights and dropout draw from, and those that a callback might."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)


IMBALANCE = 10  # times as many images of one class as of another
FACTOR = 8  # of a usual learning rate
CUT = 1.5  # times the network's input
_USUAL_ADAM = {"adam": 1e-4, "adamw": 3e-4}  # for this network; Adam's steps hardly depend on the batch
_USUAL, _USUAL_BATCH = 0.01, 128  # the paper's, with momentum 0.9; in proportion to the batch (Goyal et al. 2017)


def recipe_warnings(config: Config, table: ImageTable) -> Iterator[str]:
    """A line each for classes that differ much in number, a batch larger than the split, a rate unfit for the batch.

    And for a warm-up that takes all of the training, and a patch of which little is seen.
    """
    labels = table.labels[table.rows("train")]
    counts = np.bincount(labels, minlength=len(table.classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[least] == 0:
        none = [name for name, count in zip(table.classes.names, counts) if not count]
        more = f" and {len(none) - 1} more" if len(none) > 1 else ""
        yield f"the train split has no image of {none[0]}{more}: it cannot be learned"
    elif counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"the train split has {counts[most]} images of {table.classes.names[most]}, {counts[least]} of "
            f"{table.classes.names[least]}: the accuracy says little of the rare classes"
        )
    warmup, epochs = config.schedule.warmup_epochs, config.train.epochs
    if warmup >= epochs:
        yield (
            f"schedule.warmup_epochs {warmup} is no less than train.epochs {epochs}: the rate never comes to "
            f"{config.optimizer.learning_rate:g}"
        )
    size, patch = PRESETS[config.model.preset].image_size, config.data.resize or 0
    if patch > CUT * size:
        yield (
            f"data.resize {patch} is more than {CUT} times the {size} that {config.model.preset} sees: evaluated is "
            f"{(size / patch) ** 2:.0%} of an image, from its middle; {round(size * 8 / 7)} is usual"
        )
    batch, rate = config.train.batch_size, config.optimizer.learning_rate
    if batch > len(labels):
        yield f"train.batch_size {batch} is more than the {len(labels)} images of the train split: an epoch is one step"
        batch = len(labels)
    batch = min(batch * config.train.accumulate, len(labels))
    name = config.optimizer.name
    usual = _USUAL_ADAM.get(name)
    if usual is None:
        momentum = 0.0 if name == "sgd" else config.optimizer.momentum
        usual = _USUAL * (1 - momentum) / (1 - 0.9) * batch / _USUAL_BATCH
    for odd, is_odd in (("high", rate > FACTOR * usual), ("low", rate < usual / 1000)):
        if is_odd:
            yield f"optimizer.learning_rate {rate:g} is {odd} for {name} with batches of {batch}: {usual:.1g} is usual"
