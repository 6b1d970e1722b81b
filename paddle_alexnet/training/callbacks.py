"""What happens around `paddle.Model.fit`: watch, show, record, keep the best.

`fit` calls `on_epoch_end` before it evaluates, so what depends on the validation loss lives in
`on_eval_end`. The `loss` in its logs is the exact mean, see `paddle_alexnet/metrics.py`.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import pandas as pd
from paddle.callbacks import Callback
from tqdm import tqdm

from paddle_alexnet.errors import UserError
from paddle_alexnet.files import write_text
from paddle_alexnet.report.curves import draw_curves

Logs = dict[str, Any]


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`. Losses and accuracies are means over every image of the split."""

    epoch: int  # from 1
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    images_per_second: float  # training, validation and saving left out
    improved: bool
    data: str


class StopOnNaN(Callback):
    """End the run at the first loss that is not a number: every step after it would be wasted."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, step: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} in epoch {self.epoch}, step {step + 1}: lower "
                "optimizer.learning_rate; the best model so far is kept"
            )


class Progress(Callback):
    """A bar with loss, top-1, images/s and time left; four plain lines an epoch without a terminal."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.title = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.done, self.started = 0, time.monotonic()
        self.bar = tqdm(total=self.images, desc=self.title, unit="image", leave=False, disable=not sys.stderr.isatty())

    def on_train_batch_end(self, step: int, logs: Logs) -> None:
        self.done += logs["batch_size"]
        shown = f"loss {logs['loss']:.4f}  top1 {logs['top1']:.4f}"
        self.bar.set_postfix_str(shown, refresh=False)
        self.bar.update(logs["batch_size"])
        steps = self.params["steps"]
        if self.bar.disable and (step + 1) % max(1, -(-steps // 4)) == 0:
            speed = self.done / (time.monotonic() - self.started)
            left = (self.images - self.done) / speed
            print(
                f"{self.title}  {self.done}/{self.images} images  {shown}  {speed:.1f} images/s  {left:.0f} s left",
                flush=True,
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.bar.close()


class Recorder(Callback):
    """Judge each epoch when its validation is done, save it, print a line, write the run's records.

    `save` is called with the epoch, which says whether the mean validation loss improved on the best so far.
    """

    def __init__(self, output: Path, *, data: str, save: Callable[[Epoch], None]) -> None:
        super().__init__()
        self.output, self.data, self.save = output, data, save
        self.history: list[Epoch] = []
        self.best: Optional[Epoch] = None

    def on_train_begin(self, logs: Logs) -> None:
        from visualdl import LogWriter

        self.writer = LogWriter(logdir=str(self.output / "visualdl"))
        self.writer.add_text("data", self.data, 0)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.epoch, self.images, self.started = epoch + 1, 0, time.monotonic()
        self.learning_rate = self.model._optimizer.get_lr()

    def on_train_batch_end(self, step: int, logs: Logs) -> None:
        self.images += logs["batch_size"]

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.seconds = time.monotonic() - self.started
        self.train = (float(logs["loss"]), float(logs["top1"]))  # evaluation reuses the same dictionary

    def on_eval_end(self, logs: Logs) -> None:
        loss, top1 = float(logs["loss"]), float(logs["top1"])
        before = self.best.val_loss if self.best else math.inf
        row = Epoch(
            self.epoch,
            *self.train,
            loss,
            top1,
            self.learning_rate,
            self.images / self.seconds,
            loss < before,
            self.data,
        )
        change = f"did not improve on {before:.4f}"
        self.save(row)
        if row.improved:
            self.best = row
            change = f"improved from {before:.4f} to {loss:.4f}, exported"
        self.history.append(row)
        print(
            f"epoch {row.epoch}/{self.params['epochs']}  train_loss {row.train_loss:.4f}  "
            f"train_top1 {row.train_top1:.4f}  val_loss {loss:.4f}  val_top1 {top1:.4f}  "
            f"{row.images_per_second:.1f} images/s  val_loss {change}",
            flush=True,
        )
        table = pd.DataFrame([asdict(epoch) for epoch in self.history])
        write_text(self.output / "metrics.csv", table.to_csv(index=False, float_format="%.6g"))
        for tag in ("train_loss", "val_loss", "train_top1", "val_top1", "learning_rate", "images_per_second"):
            split, _, kind = tag.partition("_")
            tag_path = f"{kind}/{split}" if split in ("train", "val") else tag
            self.writer.add_scalar(tag=tag_path, step=row.epoch, value=float(getattr(row, tag)))
        draw_curves(self.output / "metrics.csv", self.output / "curves.png")

    def on_train_end(self, logs: Logs) -> None:
        self.writer.close()
