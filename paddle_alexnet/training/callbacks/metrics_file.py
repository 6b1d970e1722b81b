"""The run's figures in files: metrics.csv and its curves."""

from dataclasses import asdict, fields
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.plots.curves import draw_curves
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.files import write_csv
from paddle_alexnet.training.history import Epoch, History


class WriteMetrics(Callback):
    """Write the whole table, and draw it, after each epoch."""

    def __init__(self, run: RunFolder, history: History) -> None:
        super().__init__()
        self.run, self.history = run, history

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        rows = [
            [f"{value:.6g}" if isinstance(value, float) else value for value in asdict(epoch).values()]
            for epoch in self.history.epochs
        ]
        write_csv(self.run.metrics, [entry.name for entry in fields(Epoch)], rows)
        draw_curves(self.run.metrics, self.run.curves)
