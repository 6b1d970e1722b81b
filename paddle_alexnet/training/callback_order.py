"""The callbacks of a run, in the order in which `paddle.Model.fit` calls them."""

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
    live: LiveRun  # what a state is captured from and restored to
    history: History
    stop: SharedStopRequest
    holding: tuple[StopOnNaN, Progress, LogVisualDL]  # something that they must let go

    @contextmanager
    def active(self) -> Iterator[None]:
        """Defer signals to the end of a step; if the run ends early, log what is kept of it."""
        guard, progress, visualdl = self.holding
        with say_what_is_kept(visualdl.run), closing(guard), closing(progress), closing(visualdl), self.stop.deferred():
            yield


@contextmanager
def say_what_is_kept(folder: RunFolder) -> Iterator[None]:
    """If a run ends early, by a signal or an error, log where its models lie."""
    try:
        yield
    except BaseException:
        if folder.best.is_dir():
            _log.info(f"the best model so far is kept: {folder.best}")
        else:
            _log.info(f"no epoch was finished: {folder.path} holds no model")
        if folder.last.is_dir():
            _log.info(f"the state of the run so far: {folder.last}")
        raise


def build_callbacks(
    run: RunSetup, model: TrainingModel, train: Loader, val: Loader, callbacks: Sequence[Callback] = ()
) -> RunCallbacks:
    """Build the callbacks of a run; `callbacks` are a user's own.

    `fit` calls `on_epoch_end` before it evaluates, so whatever depends on the validation loss happens in
    `on_eval_end`. There the order counts.
    """
    settings, network, history, stop = run.config.train, run.network, History(), SharedStopRequest()
    origin = Origin(run.data, str(run.table.root.absolute()), str(run.table.csv.absolute()), paddle=paddle.__version__)
    metadata = Metadata(network.spec, run.table.classes, train.preprocess, origin)
    record = RecordEpoch(history, data=run.data)
    average = AverageWeights(network, decay=settings.ema) if settings.ema else None
    averaging = [average] if average else []
    counting = [record, *model.schedule.callbacks, *averaging, *callbacks]
    computed = replace(run.config, model=replace(run.config.model, kernels=network.kernels))  # as a state remembers it
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
        # Before anything of a batch: ranks wait for each other, and agree to stop.
        MeetBeforeBatch(stop),
        # Each rank has dropout of its own.
        SeedStep(settings.seed + rank(), history, train),
        setup,
        guard,
        *on_first(progress),
        # Before anything is saved: a run that is resumed from there has the next learning rate.
        *model.schedule.callbacks,
        # Adds the epoch to the history, which all callbacks below read.
        record,
        early,
        # A user's own see the finished epoch and may end the run.
        *callbacks,
        # The network still has the average of its weights, if one is kept: the average is saved as best.
        *on_first(no_progress, best, shown, metrics, visualdl),
        # From here on the network has the weights that are trained.
        *averaging,
        # Last of an epoch: the state holds what all others have done.
        state,
        # After the last epoch is saved.
        *on_first(*report),
    ]
    return RunCallbacks(ordered, live, history, stop, (guard, progress, visualdl))
