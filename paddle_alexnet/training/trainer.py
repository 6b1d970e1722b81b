"""Training as one function: data, network, optimizer, `paddle.Model`, callbacks, fit."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import paddle
from paddle.metric import Accuracy
from paddle.static import InputSpec

from paddle_alexnet.config.recipe import save_config
from paddle_alexnet.config.schema import Config, DataConfig, ModelConfig
from paddle_alexnet.data.dataset import hash_of_content
from paddle_alexnet.data.demo import DEMO_NAME, draw_demo, is_demo
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.table import ImageTable, find_root, read_table
from paddle_alexnet.data.tree import say_notes
from paddle_alexnet.evaluation.evaluate import report_run
from paddle_alexnet.evaluation.metrics import CrossEntropy, MeanLoss
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.report.run_summary import settings_of
from paddle_alexnet.runs.environment import save_environment
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.runs.run_folder import DATA_COMMENT, RunFolder, run_of
from paddle_alexnet.runs.train_state import Saved, files_of, fingerprint
from paddle_alexnet.system.device import use_device
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import exists
from paddle_alexnet.training.callbacks.ema import AverageWeights
from paddle_alexnet.training.callbacks.metrics_file import WriteMetrics
from paddle_alexnet.training.callbacks.progress_bar import Progress, ShowEpoch
from paddle_alexnet.training.callbacks.record_epoch import RecordEpoch
from paddle_alexnet.training.callbacks.save_best import SaveModels
from paddle_alexnet.training.callbacks.save_state import SaveState
from paddle_alexnet.training.callbacks.seed_step import SeedStep, seed_everything
from paddle_alexnet.training.callbacks.stopping import StopEarly, StopOnNaN, WarnOfNoProgress
from paddle_alexnet.training.callbacks.visualdl_log import LogVisualDL
from paddle_alexnet.training.distributed import (
    MeetBeforeBatch,
    SharedStopRequest,
    check_batch_size,
    device_of_rank,
    first_before_others,
    global_loss,
    global_metric,
    on_first,
    parallel,
    rank,
    ranks,
)
from paddle_alexnet.training.history import Epoch, History
from paddle_alexnet.training.kmeans_initialization import IMAGES, find_first_weights
from paddle_alexnet.training.model import TrainingModel, check_amp, set_cudnn_search
from paddle_alexnet.training.optimizers import build_optimizer, check_groups
from paddle_alexnet.training.pretrained import read_start, start_from
from paddle_alexnet.training.recipe_warnings import remarks
from paddle_alexnet.training.resume import (
    LiveRun,
    check_same_preprocess,
    check_same_run,
    check_same_sizes,
    find_state,
    same_content,
)
from paddle_alexnet.training.schedules import build_schedule

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """What a run came to: its folder, every epoch, and the one with the lowest mean validation loss."""

    output: Path
    history: tuple[Epoch, ...]
    best: Optional[Epoch]
    visualdl: Optional[Path]  # the folder of its log, where VisualDL could be used
    val_images: int  # that the validation figures are means over


def train(config: Config, *, resume: Optional[Path] = None) -> Results:
    """Train a network as a recipe says; export it each time the mean validation loss improves.

    With `resume`, the folder of a run or a checkpoint in it, go on there from its newest state or from that one: what
    comes of it is what would have come of a run that was never stopped, to the bit. Ctrl-C and SIGTERM are obeyed
    once the step that is being done is saved.

    In one of several processes that `paddle.distributed.launch` has started, train together with the others; rank 0
    alone writes and shows the run.

    Raises UserError, before the first step where that is possible, for what a user can mend.
    """
    device = use_device(device_of_rank(config.device))
    with paddle.utils.unique_name.guard(), parallel():  # a second run in this process names its parameters alike
        return _train(config, resume, device)


def _train(config: Config, resume: Optional[Path], device: str) -> Results:
    # What can be refused without reading a picture is refused first.
    first = rank() == 0
    check_batch_size(config.train.batch_size)
    check_amp(config, device)
    set_cudnn_search(config, device)
    run = RunFolder(run_of(resume) if resume else config.output)
    if first:
        run.check()
    saved = find_state(resume) if resume else None
    config = replace(config, output=str(run.path))
    seed_everything(config.train.seed)

    with first_before_others():  # the demo set may have to be drawn
        table, data_name = open_data(config.data, run.path)
    network = build_network(config.model, len(table.classes), saved)
    check_groups(network, config.optimizer)
    start, data, files = None, fingerprint(table), files_of(table)
    if saved:
        check_same_run(saved, config, data, network.spec)
        check_same_sizes(saved, files)
    elif config.model.weights:
        start = read_start(Path(config.model.weights), network, table, config.data)
    if first and not saved:
        check_space(run, network, config)
    on_gpu = device.startswith("gpu")
    with first_before_others():  # images are checked, cached and measured
        train_loader, val_loader = open_loaders(
            config, table, network.image_size, on_device=on_gpu, rank=rank(), ranks=ranks()
        )
        sets = train_loader.dataset, val_loader.dataset
        files = replace(files, content=hash_of_content(sets))
        if first and saved:
            files = same_content(saved, files, lambda: hash_of_content(sets, read=True, workers=config.data.workers))
    preprocess = train_loader.preprocess
    if start:
        start_from(start, network, preprocess)
    elif config.model.initialization == "kmeans" and not saved:
        find_first_weights(network, train_loader.sample(IMAGES), seed=config.train.seed)

    history, epochs = History(), config.train.epochs
    schedule = build_schedule(config.schedule, config.optimizer, network, epochs=epochs, steps=len(train_loader))
    optimizer = build_optimizer(network, config.optimizer, schedule.rate)
    image = InputSpec([None, 3, preprocess.image_size, preprocess.image_size], "float32", "image")
    label = InputSpec([None], "int64", "label")
    model = TrainingModel(network, loader=train_loader, accumulate=config.train.accumulate, inputs=image, labels=label)
    metrics = [global_metric(metric) for metric in (MeanLoss(), Accuracy(name="top1"))]
    loss = global_loss(CrossEntropy(config.train.label_smoothing))
    model.prepare(optimizer, loss, metrics=metrics, amp=config.train.amp)

    train_images, val_images = len(train_loader.dataset), len(val_loader.dataset)
    origin = Origin(data_name, str(table.root.absolute()), str(table.csv.absolute()), paddle=paddle.__version__)
    metadata = Metadata(network.spec, table.classes, preprocess, origin)
    record = RecordEpoch(history, data=data_name)
    average = AverageWeights(network, decay=config.train.ema) if config.train.ema else None
    averaging = [average] if average else []
    counting = [record, *schedule.callbacks, *averaging]
    computed = replace(config, model=replace(config.model, kernels=network.kernels))  # which a state remembers
    live = LiveRun(
        as_set(computed), data, files, network, optimizer, model._scaler, average, train_loader, history, counting
    )
    if saved:
        check_same_preprocess(saved, preprocess)
        live.restore(saved)
        del saved  # and the memory that its arrays take
    stop = SharedStopRequest()
    guard = StopOnNaN(history, train_loader, learning_rate=config.optimizer.learning_rate)
    progress = Progress(history, train_loader, epochs=epochs, val_images=val_images)
    visualdl = LogVisualDL(run, history, data=data_name, settings=settings_of(config))
    callbacks = [
        MeetBeforeBatch(stop),
        SeedStep(config.train.seed + rank(), history, train_loader),  # each rank has dropout of its own
        guard,
        *on_first(progress),
        *schedule.callbacks,  # before what is saved: a run that goes on from there has the next rate
        record,  # those after it read the epoch that it adds to the history
        StopEarly(history, patience=config.train.patience),
        *on_first(
            WarnOfNoProgress(history, train_loader, len(table.classes)),
            SaveModels(run, network, metadata, history),  # the average of the weights, where there is one
            ShowEpoch(history, epochs=epochs),
            WriteMetrics(run, history),
            visualdl,
        ),
        *averaging,  # from here on the network has the weights that are trained
        SaveState(run, live, metadata, stop, guard),
    ]

    with run.begin(resume=resume is not None) if first else nullcontext():
        if first:
            save_config(as_set(config), run.config, comment=f"{DATA_COMMENT} {data_name}")
            save_environment(run.environment, device)
        how = f"LRN backend {network.lrn}, kernels {network.kernels}"
        _log.info(f"{network.preset}, {how}, {len(table.classes)} classes, on {device}")
        _log.info(f"data: {data_name}: {train_images} train, {val_images} val images")
        if ranks() > 1:
            _log.info(f"{ranks()} processes share each global batch of {config.train.batch_size} images")
        for remark in remarks(config, table) if first else ():
            _log.warning(f"note: {remark}")
        if resume:
            done = f"{train_loader.first} of {len(train_loader)} steps"
            _log.info(f"going on in epoch {len(history.epochs) + 1}, of which {done} are done")
        with say_what_is_kept(run), closing(guard), closing(progress), closing(visualdl), stop.deferred():
            to_come = epochs - len(history.epochs)  # `fit` counts from 0, the callbacks by the history
            model.fit(train_loader, val_loader, epochs=to_come, verbose=0, callbacks=callbacks)
        if first and config.train.report:
            report_run(run, device=device)
    if len(history.epochs) < epochs:
        _log.info(f"stopped early: {config.train.patience} epochs without a better validation loss")
    log = run.visualdl if run.visualdl.is_dir() else None
    return Results(run.path, tuple(history.epochs), history.best, log, val_images)


def build_network(config: ModelConfig, classes: int, saved: Optional[Saved]) -> AlexNet:
    """The network of a recipe. A run that goes on rounds as it did before, unless the recipe says what computes it."""
    kernels = config.kernels
    if saved and kernels == "auto":
        kernels = str(saved.state.config.get("model.kernels", "paddle"))
    return AlexNet(config.preset, classes, config.lrn, quirks=config.quirks, kernels=kernels)


def open_data(config: DataConfig, output: Path) -> tuple[ImageTable, str]:
    """The configured data set, else `data/` if it is there, else the demo set; and its name in words."""
    csv, classes = (Path(text) if text else None for text in (config.csv, config.classes))
    root = find_root(Path(config.root) if config.root else None, csv)
    if root is None:
        root = output.parent / "demo-data"
        _log.info(f"no data.root is set, no data/labels.csv there: training on the {DEMO_NAME}, drawn in {root}")
        if not exists(root):
            try:
                draw_demo(root)
            except UserError:
                if not exists(root):
                    raise
                # Another run that started at the same time was first; it has drawn the same images.
    table = read_table(root, csv, classes)
    say_notes(table.root, table.notes)
    return table, DEMO_NAME if is_demo(table.classes) else str(table.csv)


def as_set(config: Config) -> Config:
    """The settings as the user made them, their paths absolute: repeated from any folder they mean the same."""

    def absolute(path: Optional[str]) -> Optional[str]:
        return path and str(Path(path).expanduser().absolute())

    data = replace(
        config.data,
        root=absolute(config.data.root),
        csv=absolute(config.data.csv),
        classes=absolute(config.data.classes),
        cache_folder=absolute(config.data.cache_folder),
    )
    model = replace(config.model, weights=absolute(config.model.weights))
    return replace(config, output=str(RunFolder(config.output).path.absolute()), model=model, data=data)


def check_space(run: RunFolder, network: AlexNet, config: Config) -> None:
    """Raise UserError if the disk has no room for what the run leaves: it would fail after its first epoch."""
    weights = sum(parameter.size for parameter in network.parameters()) * 4
    moments = {"adam": 2, "adamw": 2, "sgd": 0}.get(config.optimizer.name, 1)
    state, kept = weights * (1 + moments + bool(config.train.ema)), config.train.keep_checkpoints
    states = 2 if kept == 1 else kept + 2  # `last`, what is kept, and one that is being written
    needed = weights * 2 + state * states  # the best checkpoint, its inference model, and the states
    nearest = next(path for path in (run.path, *run.path.absolute().parents) if exists(path))
    if (free := shutil.disk_usage(nearest).free) < needed:
        raise UserError(
            f"{run.path}: a run needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free: name another disk as output"
        )


@contextmanager
def say_what_is_kept(run: RunFolder) -> Iterator[None]:
    """Where a run is left before its end, by a signal or an error, log where its models lie."""
    try:
        yield
    except BaseException:
        if run.best.is_dir():
            _log.info(f"the best model so far is kept: {run.best}")
        else:
            _log.info(f"no epoch was finished: {run.path} holds no model")
        if run.last.is_dir():
            _log.info(f"the state of the run so far: {run.last}")
        raise
