"""Callbacks of a run, in the order in which `paddle.Model.fit` calls them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import paddle
from paddle.callbacks import Callback

from paddle_alexnet.data.loader import Loader
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.callbacks.checkpoints import SaveModels, SaveState
from paddle_alexnet.training.callbacks.ema import AverageWeights
from paddle_alexnet.training.callbacks.progress_bar import Progress, ShowEpoch
from paddle_alexnet.training.callbacks.recording import LogVisualDL, RecordEpoch, WriteMetrics, WriteReport, WriteSetup
from paddle_alexnet.training.callbacks.seed_step import SeedStep
from paddle_alexnet.training.callbacks.stopping import StopEarly, StopOnNaN, WarnOfNoProgress
from paddle_alexnet.training.distributed import MeetBeforeBatch, SharedStopRequest, on_first, rank
from paddle_alexnet.training.history import History
from paddle_alexnet.training.model import TrainingModel
from paddle_alexnet.training.resume import LiveRun
from paddle_alexnet.training.setup import RunSetup

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks in order, and the objects that they share."""

    ordered: list[Callback]
    live: LiveRun  # captures and restores the run's state
    history: History
    stop: SharedStopRequest
    holding: tuple[StopOnNaN, Progress, LogVisualDL]  # have resources to close

    @contextmanager
    def active(self) -> Iterator[None]:
        """Defer signals to the end of a step; if the run ends early, log what is kept of it."""
        guard, progress, visualdl = self.holding
        with say_what_is_kept(visualdl.run), closing(guard), closing(progress), closing(visualdl), self.stop.deferred():
            yield


@contextmanager
def say_what_is_kept(folder: RunFolder) -> Iterator[None]:
    """If a run ends early, by a signal or an error, log the folders of its models."""
    try:
        yield
    except BaseException:
        if folder.best.is_dir():
            _log.info(f"best model so far: {folder.best}")
        else:
            _log.info(f"{folder.path}: no model yet, because no epoch was finished")
        if folder.last.is_dir():
            _log.info(f"state to resume from: {folder.last}")
        raise


def build_callbacks(
    run: RunSetup, model: TrainingModel, train: Loader, val: Loader, callbacks: Sequence[Callback] = ()
) -> RunCallbacks:
    """Build the callbacks of a run; `callbacks` are the user's own.

    `fit` calls `on_epoch_end` before validation, so callbacks that depend on the validation loss use `on_eval_end`, in
    which their order matters.
    """
    settings, network, history, stop = run.config.train, run.network, History(), SharedStopRequest()
    root, csv = ("", "") if run.table.given else (str(run.table.root.absolute()), str(run.table.csv.absolute()))
    origin = Origin(run.data, root, csv, paddle=paddle.__version__)
    metadata = Metadata(network.spec, run.table.classes, train.preprocess, origin)
    record = RecordEpoch(history, data=run.data)
    average = AverageWeights(network, decay=settings.ema) if settings.ema else None
    averaging = [average] if average else []
    counting = [record, *model.schedule.callbacks, *averaging, *callbacks]
    computed = replace(run.config, model=replace(run.config.model, kernels=network.kernels))  # as saved in a state
    live = LiveRun(
        config=computed,
        data=run.fingerprint,
        files=run.files,
        network=network,
        optimizer=model._optimizer,
        scaler=model._scaler,
        average=average,
        loader=train,
        history=history,
        callbacks=counting,
    )
    guard = StopOnNaN(history, train, learning_rate=run.config.optimizer.learning_rate)
    no_progress = WarnOfNoProgress(history, train, len(run.table.classes))
    early = StopEarly(history, patience=settings.patience)
    progress = Progress(history, train, epochs=settings.epochs, val_images=len(val.dataset))
    shown = ShowEpoch(history, epochs=settings.epochs)
    setup, metrics = WriteSetup(run, history, train, val), WriteMetrics(run.folder, history)
    visualdl = LogVisualDL(run.folder, history, data=run.data, config=run.config)
    report = [WriteReport(run.folder, stop, device=run.device)] if settings.report else []
    best, state = SaveModels(run.folder, network, metadata, history), SaveState(run.folder, live, metadata, stop, guard)
    ordered = [
        # Before each batch, ranks wait for each other and agree whether to stop.
        MeetBeforeBatch(stop),
        # Each rank has its own dropout.
        SeedStep(settings.seed + rank(), history, train),
        setup,
        guard,
        *on_first(progress),
        # Before saving: a resumed run needs the next learning rate.
        *model.schedule.callbacks,
        # Add the epoch to the history, which all callbacks below read.
        record,
        early,
        # The user's callbacks see the finished epoch and may end the run.
        *callbacks,
        # The network still has the averaged weights, if any, which are saved as best.
        *on_first(no_progress, best, shown, metrics, visualdl),
        # Restore the trained weights.
        *averaging,
        # Last in an epoch: the state includes the changes by all others.
        state,
        # After the last epoch is saved.
        *on_first(*report),
    ]
    return RunCallbacks(ordered, live, history, stop, (guard, progress, visualdl))
