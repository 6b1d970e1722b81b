"""Turn what `fit` logs into the epochs of the history."""

import math
import time
from dataclasses import dataclass
from typing import Any, Union

from paddle.callbacks import Callback
from pydantic import NonNegativeFloat, NonNegativeInt

from paddle_alexnet.system.typed_values import check_types
from paddle_alexnet.training.history import Epoch, History

_Sum = Union[int, float, list[Union[int, float]]]


@dataclass(frozen=True)
class _Counted:
    """What has been counted of an epoch that is under way."""

    learning_rate: NonNegativeFloat
    images: NonNegativeInt
    seconds: NonNegativeFloat
    train: tuple[float, float]  # loss and top-1, means so far
    sums: list[tuple[_Sum, _Sum]]  # the total and the count of each metric


class RecordEpoch(Callback):
    """Time and judge each epoch, and add it to the history when it is validated."""

    def __init__(self, history: History, *, data: str) -> None:
        super().__init__()
        self.history, self.data = history, data
        self.resumed: dict[str, Any] = {}  # of an epoch that goes on
        self.running = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        before, self.resumed = self.resumed, {}
        self.learning_rate = before.get("learning_rate", self.model._optimizer.get_lr())
        self.images, self.seconds_before = before.get("images", 0), before.get("seconds", 0.0)
        self.train = before.get("train", (math.nan, math.nan))
        for metric, (total, count) in zip(self.model._metrics, before.get("sums", ())):
            metric.total, metric.count = total, count
        self.running, self.started = True, time.perf_counter()

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        self.images += logs["batch_size"]
        self.train = float(logs["loss"]), float(logs["top1"])  # the means so far, of every image

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.seconds = self._seconds()

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        val_loss, best = float(logs["loss"]), self.history.best
        self.history.epochs.append(
            Epoch(
                epoch=len(self.history.epochs) + 1,
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
        self.running = False

    def state_dict(self) -> dict[str, Any]:
        """What has been counted of an epoch that is under way."""
        if not self.running:
            return {}
        return {
            "learning_rate": self.learning_rate,
            "images": self.images,
            "seconds": self._seconds(),
            "train": self.train,
            "sums": [(metric.total, metric.count) for metric in self.model._metrics],
        }

    def set_state_dict(self, state: dict[str, Any]) -> None:
        self.resumed = vars(check_types(_Counted, state)) if state else {}

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started
