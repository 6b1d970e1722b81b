"""The main job as one function: data, network, optimiser, model, callbacks, fit."""

import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np
import paddle
from paddle import callbacks
from paddle.metric import Accuracy
from paddle.static import InputSpec

from paddle_alexnet.config import Config, DataConfig, ScheduleConfig, TrainConfig, save_config
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.prepare.demo import DEMO_NAME, draw_demo, is_demo
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import ImageTable, read_table
from paddle_alexnet.device import use_device
from paddle_alexnet.errors import UserError
from paddle_alexnet.export.jit import export
from paddle_alexnet.metrics import CrossEntropy, MeanLoss
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights, save_checkpoint
from paddle_alexnet.runs.folder import RunFolder
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.training.callbacks import Epoch, Progress, Recorder, StopOnNaN
from paddle_alexnet.training.optimisers import build_optimizer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """What a run came to: its folder, every epoch, and the one with the lowest mean validation loss."""

    output: Path
    history: tuple[Epoch, ...]
    best: Optional[Epoch]


def train(config: Config) -> Results:
    """Train a network as a recipe says; export it each time the mean validation loss improves.

    Raises UserError, before the first step where that is possible, for what a user can mend.
    """
    with paddle.utils.unique_name.guard():  # so that a second run in this process names its parameters alike
        return _train(config)


def _train(config: Config) -> Results:
    device = use_device(config.device)
    seed_everything(config.train.seed)
    run = RunFolder(config.output)
    output = run.path

    table, data_name = open_data(config.data, output)
    network = AlexNet(config.model.preset, len(table.classes), config.model.lrn, quirks=config.model.quirks)
    train_loader, val_loader = open_loaders(config, table, network.image_size, on_device=device.startswith("gpu"))
    preprocess = train_loader.preprocess
    if config.model.weights:
        start_from(network, table, preprocess, Path(config.model.weights))

    optimizer = build_optimizer(network, config.optimizer, config.schedule)
    image = InputSpec([None, 3, preprocess.image_size, preprocess.image_size], "float32", "image")
    model = paddle.Model(network, inputs=image, labels=InputSpec([None], "int64", "label"))
    model.prepare(optimizer, CrossEntropy(), metrics=[MeanLoss(), Accuracy(name="top1")])

    def save(epoch: Epoch) -> None:
        origin = Origin(
            data=data_name,
            data_root=str(table.root.absolute()),
            data_csv=str(table.csv.absolute()),
            epoch=epoch.epoch,
            val_loss=epoch.val_loss,
            val_top1=epoch.val_top1,
            paddle=paddle.__version__,
        )
        metadata = Metadata(network.spec, table.classes, preprocess, origin)
        save_checkpoint(run.last, network, metadata)
        if epoch.improved:
            save_checkpoint(run.best, network, metadata)
            export(network, metadata, run.inference)

    with run.begin():
        resolved = replace(config, data=replace(config.data, root=str(table.root), csv=str(table.csv)))
        save_config(resolved, run.config, comment=f"the data is {data_name}")
        _log.info(f"{network.preset}, LRN backend {network.lrn}, {len(table.classes)} classes, on {device}")
        _log.info(f"data: {data_name}: {len(train_loader.dataset)} train, {len(val_loader.dataset)} val images")
        recorder = Recorder(output, data=data_name, save=save)
        model.fit(
            train_loader,
            val_loader,
            epochs=config.train.epochs,
            verbose=0,
            callbacks=[
                StopOnNaN(),
                *schedule_callbacks(config.schedule, config.train),
                Progress(len(train_loader.dataset)),
                recorder,
            ],
        )
    return Results(output, tuple(recorder.history), recorder.best)


def seed_everything(seed: int) -> None:
    """Seed every generator that weights, dropout and transforms draw from."""
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def open_data(config: DataConfig, output: Path) -> tuple[ImageTable, str]:
    """The configured data set, else `data/` if it is there, else the demo set; and its name in words."""
    csv = Path(config.csv) if config.csv else None
    if config.root:
        root = Path(config.root)
    elif csv:
        root = csv.parent
    elif Path("data/labels.csv").is_file():
        root = Path("data")
    else:
        root = output.parent / "demo-data"
        _log.info(f"no data.root is set and there is no data/labels.csv: training on the {DEMO_NAME}, drawn in {root}")
        if not root.exists():
            draw_demo(root)
    table = read_table(root, csv, Path(config.classes) if config.classes else None)
    return table, DEMO_NAME if is_demo(table.classes) else str(table.csv)


def start_from(network: AlexNet, table: ImageTable, preprocess: Preprocess, weights: Path) -> None:
    """Start from a checkpoint's weights.

    Raises UserError if it is of another network, of other classes, or for input of another scale. Of
    converted weights whose classes have no names, only the number must be the data set's.
    """
    start, metadata = load_checkpoint(weights)
    if metadata.model.preset != network.preset:
        raise UserError(f"{weights}: is a {metadata.model.preset}, the config says model.preset={network.preset}")
    expected, found = len(table.classes), len(metadata.classes)
    if expected != found and metadata.classes == ClassList.unnamed(found):
        raise UserError(
            f"{weights}: has {found} classes, {table.csv} has {expected}: convert the weights again with "
            f"tools/convert_weights.py --num-classes {expected}"
        )
    if metadata.classes not in (table.classes, ClassList.unnamed(expected)):
        raise UserError(f"{weights}: was trained for other classes than {table.csv} has; their outputs do not match")
    theirs = metadata.preprocess
    if theirs.mean_image and preprocess.mean_image:  # each the mean of its own data set
        theirs = replace(theirs, mean=preprocess.mean)
    if not np.allclose([theirs.mean, theirs.std], [preprocess.mean, preprocess.std], rtol=1e-3):
        mean, std = ([float(f"{value:.6g}") for value in values] for values in (theirs.mean, theirs.std))
        how = "pixel" if theirs.mean_image else "given"
        change = f"-o data.normalise={how} -o 'data.mean={mean}' -o 'data.std={std}'"
        raise UserError(f"{weights}: expects other input: add {change}")
    load_weights(network, {k: v.numpy() for k, v in start.state_dict().items()}, source=str(weights))


def schedule_callbacks(schedule: ScheduleConfig, train: TrainConfig) -> list[callbacks.Callback]:
    """What changes the learning rate and what stops early, all by the epoch.

    Paddle would add a schedule callback of its own that steps per batch.
    """
    steps: list[callbacks.Callback] = [callbacks.LRScheduler(by_step=False, by_epoch=True)]
    if schedule.name == "plateau":
        steps.append(
            callbacks.ReduceLROnPlateau(
                "loss", factor=schedule.factor, patience=schedule.patience, mode="min", min_delta=0
            )
        )
    if train.patience:
        steps.append(
            callbacks.EarlyStopping("loss", mode="min", patience=train.patience, min_delta=0, save_best_model=False)
        )
    return steps
