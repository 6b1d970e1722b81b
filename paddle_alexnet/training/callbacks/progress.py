"""What a person sees of a run: a bar in a terminal, a few plain lines elsewhere, and the result of each epoch."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from paddle.callbacks import Callback
from tqdm import tqdm

from paddle_alexnet.training.history import History

_interval = tqdm.format_interval  # 272 seconds -> 04:32


class Progress(Callback):
    """A bar with loss, top-1, images/s, time left in the epoch and in the run; without a terminal, plain lines."""

    def __init__(self, *, train_images: int, val_images: int) -> None:
        super().__init__()
        self.images, self.val_images = train_images, val_images
        self.bar: Optional[tqdm] = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        self.run_started = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.epoch, self.title = epoch, f"epoch {epoch + 1}/{self.params['epochs']}"
        self.done, self.started = 0, time.perf_counter()
        self.bar = _bar(self.title, self.images)

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        self.done = min(self.images, self.done + logs["batch_size"])  # several processes may count padding, too
        speed, left = self._speed_and_time_left()
        figures = f"loss {logs['loss']:.4f} top1 {logs['top1']:.3f}"
        if self.bar is not None:
            self.bar.bar_format = f"{{desc}} |{{bar}}| {figures} {speed:.1f}/s {left}"
            self.bar.update(logs["batch_size"])
        elif (step + 1) % max(1, -(-self.params["steps"] // 4)) == 0:
            print(f"{self.title}  {self.done}/{self.images}  {figures}  {speed:.1f} images/s  {left}", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.close()

    def on_eval_begin(self, logs: dict[str, Any]) -> None:
        self.bar = _bar(f"{self.title} validation", self.val_images)

    def on_eval_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        if self.bar is not None:
            self.bar.update(logs["batch_size"])

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the screen, so that what follows starts a line of its own."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _speed_and_time_left(self) -> tuple[float, str]:
        """Images a second in this epoch, and the time left; the run's follows from the whole epochs before."""
        now = time.perf_counter()
        speed = self.done / (now - self.started)
        epoch_left = (self.images - self.done) / speed
        whole_epoch = (self.started - self.run_started) / self.epoch if self.epoch else self.images / speed
        run_left = max(epoch_left, whole_epoch * (self.params["epochs"] - self.epoch) - (now - self.started))
        return speed, f"{_interval(epoch_left)} left, run {_interval(run_left)}"


class ShowEpoch(Callback):
    """Print the result of each epoch, once it is saved."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        self.started = time.perf_counter()

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        epoch, epochs = self.history.last, self.params["epochs"]
        best = History(self.history.epochs[:-1]).best
        before = best.val_loss if best else math.inf
        if epoch.improved:
            change = f"improved from {before:.4f} to {epoch.val_loss:.4f}, exported"
        else:
            change = f"did not improve on {before:.4f}"
        left = (time.perf_counter() - self.started) / epoch.epoch * (epochs - epoch.epoch)
        print(
            f"epoch {epoch.epoch}/{epochs}  train_loss {epoch.train_loss:.4f} train_top1 {epoch.train_top1:.3f}  "
            f"val_loss {epoch.val_loss:.4f} val_top1 {epoch.val_top1:.3f}\n"
            f"  val_loss {change}  {epoch.images_per_second:.1f} images/s  {_interval(left)} left",
            flush=True,
        )


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say in a terminal what is being done, as long as it takes."""
    shown = sys.stderr.isatty()
    if shown:
        print(f"{what} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(f"\r{' ' * (len(what) + 2)}\r", end="", file=sys.stderr, flush=True)


def _bar(title: str, images: int) -> Optional[tqdm]:
    """A bar that counts images and leaves nothing behind; None without a terminal."""
    if not sys.stderr.isatty():
        return None
    bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}"
    return tqdm(desc=title, total=images, leave=False, bar_format=bar_format, file=sys.stderr)
