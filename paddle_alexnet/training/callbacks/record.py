"""Turn what `fit` logs into the epochs of the history."""

import math
import time
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.training.history import Epoch, History


class RecordEpoch(Callback):
    """Time and judge each epoch, and add it to the history when it is validated."""

    def __init__(self, history: History, *, data: str) -> None:
        super().__init__()
        self.history, self.data = history, data

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.epoch, self.images, self.started = epoch + 1, 0, time.perf_counter()
        self.learning_rate = self.model._optimizer.get_lr()

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        self.images += logs["batch_size"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.seconds = time.perf_counter() - self.started
        self.train = float(logs["loss"]), float(logs["top1"])  # now, for the evaluation reuses the same dictionary

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        val_loss, best = float(logs["loss"]), self.history.best
        self.history.epochs.append(
            Epoch(
                epoch=self.epoch,
                train_loss=self.train[0],
                train_top1=self.train[1],
                val_loss=val_loss,
                val_top1=float(logs["top1"]),
                learning_rate=self.learning_rate,
                images_per_second=self.images / self.seconds,
                improved=val_loss < (best.val_loss if best else math.inf),
                data=self.data,
            )
        )
