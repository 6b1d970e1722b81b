"""Keep the best network so far, and its inference model."""

from dataclasses import replace
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.export.exporter import exporting
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.progress import EVERY, working
from paddle_alexnet.training.history import History
from paddle_alexnet.training.model import in_full_precision


class SaveModels(Callback):
    """Save a network with the lowest validation loss so far as `best`, and export it."""

    def __init__(self, run: RunFolder, network: AlexNet, metadata: Metadata, history: History) -> None:
        super().__init__()
        self.run, self.network, self.metadata, self.history = run, network, metadata, history

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        epoch = self.history.last
        if epoch.improved:
            origin = self.metadata.origin
            origin = replace(origin, epoch=epoch.epoch, val_loss=epoch.val_loss, val_top1=epoch.val_top1)
            metadata = replace(self.metadata, origin=origin)
            network = in_full_precision(self.network, self.model._optimizer)
            # Both are put in place, or none.
            saving = working("saving and exporting the best model so far", after=EVERY)
            with saving, exporting(network, metadata, self.run.inference, aside=True):
                save_checkpoint(self.run.best, network, metadata, aside=True)
