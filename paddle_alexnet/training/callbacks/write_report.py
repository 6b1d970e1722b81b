"""The report of a finished run."""

from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.stop_request import StopRequest


class WriteReport(Callback):
    """Predict the validation split with the best model and write `report.html` when the run has ended."""

    def __init__(self, folder: RunFolder, stop: StopRequest, *, device: str) -> None:
        super().__init__()
        self.folder, self.stop, self.device = folder, stop, device

    def on_train_end(self, logs: Any) -> None:
        from paddle_alexnet.report.run_report import report_run  # loads what training does not need

        self.stop.release()  # everything is saved: a signal may end the report at once
        report_run(self.folder, device=self.device)
