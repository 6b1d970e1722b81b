"""The run's figures for VisualDL."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.config.recipe import config_as_text
from paddle_alexnet.config.schema import Config
from paddle_alexnet.plots.pictures import filter_grid
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.history import Epoch, History

_log = logging.getLogger(__name__)


class LogVisualDL(Callback):
    """Add each epoch's figures and weights to a VisualDL log, where VisualDL can be used."""

    def __init__(self, run: RunFolder, history: History, *, data: str, config: Config) -> None:
        super().__init__()
        self.run, self.history, self.data, self.settings = run, history, data, config_as_text(config)
        self.writer: Any = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        with self._or_without():
            from visualdl import LogWriter  # makes a folder in the user's home when it is imported

            for log in self.run.visualdl.glob("vdlrecords.*.log"):  # VisualDL shows one file of a folder: that of a
                log.unlink()  # run that goes on is written anew
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
        """A histogram of about 10,000 weights of each layer, and the filters of the first as an image."""
        arrays = {name: tensor.numpy() for name, tensor in self.model.network.state_dict().items()}
        for name, weights in arrays.items():
            self.writer.add_histogram(f"weights/{name}", weights.ravel()[:: max(1, weights.size // 10_000)], step)
        first = next(weights for weights in arrays.values() if weights.ndim == 4)
        self.writer.add_image("filters", filter_grid(first)[..., :3].repeat(4, axis=0).repeat(4, axis=1), step)

    def close(self) -> None:
        """End the writer's thread."""
        if self.writer is not None:
            with self._or_without():
                self.writer.close()
            self.writer = None

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Go on without VisualDL where it fails, whatever the reason: the training does not depend on it."""
        try:
            yield
        except Exception as error:
            self.writer = None
            _log.info(f"VisualDL cannot be used here ({error}): training without its log")
