"""Progress of a run: a bar in a terminal, plain lines elsewhere, and the results of each epoch."""

import math
import sys
import time
from typing import Any, Optional

import paddle
from paddle.callbacks import Callback
from tqdm import tqdm

from paddle_alexnet.data.loader import Loader
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.progress import quiet
from paddle_alexnet.training.history import History

_interval = tqdm.format_interval  # 272 seconds -> 04:32


class Progress(Callback):
    """A progress bar with loss, top-1, images/s and remaining times; plain lines without a terminal."""

    def __init__(self, history: History, loader: Loader, *, epochs: int, val_images: int) -> None:
        super().__init__()
        self.history, self.loader, self.epochs = history, loader, epochs
        self.images, self.val_images = len(loader.dataset), val_images
        self.bar: Optional[tqdm] = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        to_come = (self.epochs - len(self.history.epochs)) * (3 * self.images + self.val_images)
        left = to_come * seconds_per_image(self.model.network)  # backward takes twice as long as forward
        if not quiet():
            print(f"estimated training time: {_in_words(left)}", flush=True)
        self.run_started, self.first_epoch = time.perf_counter(), len(self.history.epochs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.epoch = len(self.history.epochs)
        self.title = f"epoch {self.epoch + 1}/{self.epochs}"
        self.before = self.done = min(self.images, self.loader.first * self.loader.batch_size)  # of a resumed epoch
        self.started = time.perf_counter()
        self.bar = _bar(self.title, self.images, self.done)

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        self.done = min(self.images, self.done + logs["batch_size"])  # several processes may count padding too
        speed, left = self._speed_and_time_left()
        figures = f"loss {logs['loss']:.4f} top1 {logs['top1']:.3f}"
        if self.bar is not None:
            self.bar.bar_format = f"{{desc}} |{{bar}}| {figures} {speed:.1f}/s {left}"
            self.bar.update(logs["batch_size"])
        elif not quiet() and self.loader.position % max(1, -(-self.params["steps"] // 4)) == 0:
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
        """Remove the bar, so that later output starts on a new line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _speed_and_time_left(self) -> tuple[float, str]:
        """Return images/s in this epoch, and the remaining times; earlier epochs predict that of the run."""
        now = time.perf_counter()
        speed = (self.done - self.before) / (now - self.started)
        epoch_left = (self.images - self.done) / speed
        whole = self.epoch - self.first_epoch
        whole_epoch = (self.started - self.run_started) / whole if whole else self.images / speed
        run_left = epoch_left + whole_epoch * (self.epochs - self.epoch - 1)
        if not self.before:  # validation and saving of this epoch, too
            run_left = max(epoch_left, whole_epoch * (self.epochs - self.epoch) - (now - self.started))
        return speed, f"{_interval(epoch_left)} left, run {_interval(run_left)}"


class ShowEpoch(Callback):
    """A callback that prints the results of each epoch after it is saved."""

    def __init__(self, history: History, *, epochs: int) -> None:
        super().__init__()
        self.history, self.epochs = history, epochs

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        self.started, self.first_epoch = time.perf_counter(), len(self.history.epochs)

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if quiet():
            return
        epoch, epochs = self.history.last, self.epochs
        best = History(self.history.epochs[:-1]).best
        before = best.val_loss if best else math.inf
        if epoch.improved:
            change = f"improved from {before:.4f} to {epoch.val_loss:.4f}, exported"
        else:
            change = f"did not improve on {before:.4f}"
        left = (time.perf_counter() - self.started) / (epoch.epoch - self.first_epoch) * (epochs - epoch.epoch)
        print(
            f"epoch {epoch.epoch}/{epochs}  train_loss {epoch.train_loss:.4f} train_top1 {epoch.train_top1:.3f}  "
            f"val_loss {epoch.val_loss:.4f} val_top1 {epoch.val_top1:.3f}\n"
            f"  val_loss {change}  {epoch.images_per_second:.1f} images/s  {_interval(left)} left",
            flush=True,
        )


def seconds_per_image(network: AlexNet) -> float:
    """Measure the evaluation time of an image on the second of two batches, without drawing random numbers."""
    dtype = network.parameters()[0].dtype  # float16 in mixed precision O2
    image = paddle.zeros([8, 3, network.image_size, network.image_size], dtype)
    training = network.training
    network.eval()
    with paddle.no_grad():
        for _ in range(2):
            started = time.perf_counter()
            network(image).numpy()  # waits for a GPU
    if training:
        network.train()
    return (time.perf_counter() - started) / len(image)


def _in_words(seconds: float) -> str:
    """Return a rounded duration, such as 40 seconds, 4 minutes or 3.5 hours."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _bar(title: str, images: int, done: int = 0) -> Optional[tqdm]:
    """Return a bar that counts images and disappears when closed; None without a terminal."""
    if quiet() or not sys.stderr.isatty():
        return None
    bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}"
    return tqdm(desc=title, total=images, initial=done, leave=False, bar_format=bar_format, file=sys.stderr)
