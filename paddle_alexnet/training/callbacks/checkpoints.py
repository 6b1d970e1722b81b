"""Checkpoints of a run: the best model with its export, and the newest states."""

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, Optional

from paddle.callbacks import Callback

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import own_files
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.runs.train_state import TrainState, save_state
from paddle_alexnet.system.files import atomic_folder, copy_file, remove_own
from paddle_alexnet.system.progress import EVERY, working
from paddle_alexnet.training.callbacks.stopping import StopOnNaN
from paddle_alexnet.training.distributed import StopRequest, barrier, rank
from paddle_alexnet.training.history import History
from paddle_alexnet.training.model import in_full_precision
from paddle_alexnet.training.resume import LiveRun


class SaveModels(Callback):
    """A callback that saves and exports the network with the lowest validation loss so far."""

    def __init__(self, run: RunFolder, network: AlexNet, metadata: Metadata, history: History) -> None:
        super().__init__()
        self.run, self.network, self.metadata, self.history = run, network, metadata, history

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        epoch = self.history.last
        if epoch.improved:
            origin = self.metadata.origin
            origin = replace(origin, epoch=epoch.epoch, val_loss=epoch.val_loss, val_top1=epoch.val_top1)
            from paddle_alexnet.exporting.exporter import exporting_network  # loads every engine that runs an export

            metadata = replace(self.metadata, origin=origin)
            network = in_full_precision(self.network, self.model._optimizer)
            # Checkpoint and export are replaced together or not at all.
            saving = working("saving and exporting the best model so far", after=EVERY)
            with saving, exporting_network(network, metadata, self.run.inference, aside=True):
                save_checkpoint(self.run.best, network, metadata, aside=True)


class SaveState(Callback):
    """A callback that saves the run's state after each epoch and every `checkpoint_steps`, and keeps the newest ones.

    It is the last callback, so that the state includes the changes by all others. After a signal, it saves the current
    step and obeys.
    """

    def __init__(self, run: RunFolder, live: LiveRun, metadata: Metadata, stop: StopRequest, guard: StopOnNaN) -> None:
        super().__init__()
        self.run, self.live, self.metadata, self.stop, self.guard = run, live, metadata, stop, guard
        self.every, self.keep = live.config.train.checkpoint_steps, live.config.train.keep_checkpoints
        self.steps = len(live.loader)
        self.trained: Optional[tuple[TrainState, dict[str, Any]]] = None
        self.due = False  # at the next update

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.trained = self.live.capture(step=self.steps) if self.live.loader.first == self.steps else None

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        done = self.live.loader.position
        if done == self.steps:
            self.trained = self.live.capture(step=done)  # before the schedule and the validation
        if self.every and (self._epochs() * self.steps + done) % self.every == 0:
            self.due = True
        if not self.model.updated:
            return  # a state has no gradients
        if self.stop.signal or (self.due and done < self.steps):
            self.guard.check_weights()
            self._save(*self.live.capture(step=done))
            self.stop.obey()
        self.due = False

    def on_eval_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        if self.stop.signal and self.trained:
            self._save(*self.trained)
            self.stop.obey()

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        finished = self.model.stop_training or self._epochs() == self.live.config.train.epochs
        self._save(*self.live.capture(step=0, finished=finished))
        if not finished:
            self.stop.obey()

    def _epochs(self) -> int:
        return len(self.live.history.epochs)

    def _save(self, state: TrainState, optimizer: dict[str, Any]) -> None:
        if rank() == 0:
            self._write(state, optimizer)
        barrier()  # no rank may obey a signal, which ends all, before the state is written

    def _write(self, state: TrainState, optimizer: dict[str, Any]) -> None:
        origin = replace(self.metadata.origin, epoch=self._epochs())
        if not state.step and self.live.history.epochs:
            epoch = self.live.history.last
            val_loss = epoch.val_loss if isfinite(epoch.val_loss) else None
            origin = replace(origin, val_loss=val_loss, val_top1=epoch.val_top1)
        with working("saving the run's state", after=EVERY):
            average = self.live.average.average if self.live.average else {}
            metadata = replace(self.metadata, origin=origin)
            save_state(self.run.last, self.live.weights(), metadata, state, optimizer, average)
            if self.keep > 1:
                _keep_also(self.run.last, self.run.checkpoints / f"epoch-{state.epoch:04}-step-{state.step:07}")
        for old in self.run.earlier()[: -self.keep]:
            remove_own(old, own_files)


def _keep_also(last: Path, place: Path) -> None:
    """Copy a checkpoint; hard links would share any damage."""
    with atomic_folder(place, replace=own_files, aside=True) as folder:
        for name in own_files(last):
            if (last / name).is_file():
                copy_file(last / name, folder / name)
