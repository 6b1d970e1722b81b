"""Files of a run: config, environment, metrics, VisualDL log and report."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Union

from paddle.callbacks import Callback
from pydantic import NonNegativeFloat, NonNegativeInt

from paddle_alexnet.config.recipe import DATA_COMMENT, config_as_text, save_config
from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.runs.environment import save_environment
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.files import write_csv
from paddle_alexnet.system.typed_values import check_types
from paddle_alexnet.training.distributed import StopRequest, rank, ranks
from paddle_alexnet.training.history import Epoch, History
from paddle_alexnet.training.setup import RunSetup, recipe_warnings

_log = logging.getLogger(__name__)


class WriteSetup(Callback):
    """A callback that writes `config.yaml` and `environment.json`, and logs the network, data and device."""

    def __init__(self, run: RunSetup, history: History, train: Loader, val: Loader) -> None:
        super().__init__()
        self.run, self.history, self.train, self.val = run, history, train, val

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        run, config, network, first = self.run, self.run.config, self.run.network, rank() == 0
        if first:
            save_config(config, run.folder.config, comment=f"{DATA_COMMENT} {run.data}")
            save_environment(run.folder.environment, run.device)
        how = f"LRN backend {network.lrn}, kernels {network.kernels}"
        _log.info(f"{network.preset}, {how}, {len(run.table.classes)} classes, on {run.device}")
        _log.info(f"data: {run.data}: {len(self.train.dataset)} train, {len(self.val.dataset)} val images")
        if ranks() > 1:
            _log.info(f"{ranks()} processes share each global batch of {config.train.batch_size} images")
        for warning in recipe_warnings(config, run.table) if first else ():
            _log.warning(warning)
        if run.resumed:
            done = f"{self.train.first} of {len(self.train)} steps"
            _log.info(f"resuming in epoch {len(self.history.epochs) + 1}, after {done}")


_Sum = Union[int, float, list[Union[int, float]]]


@dataclass(frozen=True)
class _Counted:
    """Counts of an unfinished epoch."""

    learning_rate: NonNegativeFloat
    images: NonNegativeInt
    seconds: NonNegativeFloat
    train: tuple[float, float]  # loss and top-1, means so far
    sums: list[tuple[_Sum, _Sum]]  # the total and the count of each metric


class RecordEpoch(Callback):
    """A callback that adds each epoch to the history after its validation."""

    def __init__(self, history: History, *, data: str) -> None:
        super().__init__()
        self.history, self.data = history, data
        self.resumed: dict[str, Any] = {}  # counts of a resumed epoch
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
        self.train = float(logs["loss"]), float(logs["top1"])  # means over the images so far

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
        """Return the counts of an unfinished epoch."""
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


class WriteMetrics(Callback):
    """A callback that writes `metrics.csv` and draws its curves after each epoch."""

    def __init__(self, run: RunFolder, history: History) -> None:
        super().__init__()
        self.run, self.history = run, history

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        rows = [
            [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(epoch).values()]
            for epoch in self.history.epochs
        ]
        write_csv(self.run.metrics, [entry.name for entry in fields(Epoch)], rows)
        from paddle_alexnet.plots.curves import draw_curves

        draw_curves(self.run.metrics, self.run.curves)


class LogVisualDL(Callback):
    """A callback that adds each epoch's metrics and weights to a VisualDL log, if VisualDL is usable."""

    def __init__(self, run: RunFolder, history: History, *, data: str, config: Config) -> None:
        super().__init__()
        self.run, self.history, self.data, self.settings = run, history, data, config_as_text(config)
        self.writer: Any = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        with self._or_without():
            from visualdl import LogWriter  # creates a folder in the user's home

            for log in self.run.visualdl.glob("vdlrecords.*.log"):
                log.unlink()  # VisualDL shows only one file of a folder: write that of a resumed run anew
            self.writer = LogWriter(logdir=str(self.run.visualdl))
            self.writer.add_text("data", self.data, 0)
            self.writer.add_hparams(self.settings, ["loss/val", "top1/val"])
            for epoch in self.history.epochs:
                self._add(epoch)

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if self.writer is not None:
            with self._or_without():
                self._add(self.history.last)
                self._add_weights(step=self.history.last.epoch)

    def _add(self, epoch: Epoch) -> None:
        for tag, value in (
            ("loss/train", epoch.train_loss),
            ("loss/val", epoch.val_loss),
            ("top1/train", epoch.train_top1),
            ("top1/val", epoch.val_top1),
            ("learning_rate", epoch.learning_rate),
            ("images_per_second", epoch.images_per_second),
        ):
            self.writer.add_scalar(tag=tag, step=epoch.epoch, value=float(value))

    def _add_weights(self, *, step: int) -> None:
        """Add a histogram of about 10,000 weights of each layer, and the first layer's filters as an image."""
        arrays = {name: tensor.numpy() for name, tensor in self.model.network.state_dict().items()}
        for name, weights in arrays.items():
            self.writer.add_histogram(f"weights/{name}", weights.ravel()[:: max(1, weights.size // 10_000)], step)
        first = next(weights for weights in arrays.values() if weights.ndim == 4)
        from paddle_alexnet.plots.drawings import filter_grid

        self.writer.add_image("filters", filter_grid(first)[..., :3].repeat(4, axis=0).repeat(4, axis=1), step)

    def close(self) -> None:
        """End the writer's thread."""
        if self.writer is not None:
            with self._or_without():
                self.writer.close()
            self.writer = None

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Continue without VisualDL after any of its errors."""
        try:
            yield
        except Exception as error:
            self.writer = None
            _log.info(f"VisualDL is unusable ({error}); training continues without its log")


class WriteReport(Callback):
    """A callback that predicts the validation split with the best model and writes `report.html` after the run."""

    def __init__(self, folder: RunFolder, stop: StopRequest, *, device: str) -> None:
        super().__init__()
        self.folder, self.stop, self.device = folder, stop, device

    def on_train_end(self, logs: Any) -> None:
        from paddle_alexnet.report.run_report import report_run  # loads modules that training does not need

        self.stop.release()  # all is saved: a signal may interrupt the report
        report_run(self.folder, device=self.device)
