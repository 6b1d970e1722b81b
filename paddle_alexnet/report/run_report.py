"""Report of a run, after evaluation of its best model on the validation split."""

import logging
from pathlib import Path

from paddle_alexnet.evaluation.evaluate import open_table, predict_split
from paddle_alexnet.inference.predictor import Predictor
from paddle_alexnet.report.html_page import write_report
from paddle_alexnet.report.run_summary import read_run
from paddle_alexnet.report.validation import write_validation
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.progress import working

_log = logging.getLogger(__name__)


def report_run(run: RunFolder, *, device: str = "auto") -> Path:
    """Update a run's `validation/`, write the report and return its path; log why if the evaluation fails."""
    read = read_run(run.path)
    if run.best.is_dir():
        try:
            predictor = Predictor(run.best, device=device)
            epoch = predictor.metadata.origin.epoch
            if read.validation is None or read.validation.epoch != epoch:
                table = open_table(predictor, None, None)
                write_validation(
                    run.validation,
                    predict_split(predictor, table, "val"),
                    table.filenames[table.rows("val")],
                    root=table.root,
                    split="val",
                    epoch=epoch,
                    classes=table.classes,
                    preprocess=predictor.metadata.preprocess,
                )
                read = read_run(run.path)
        except UserError as error:
            _log.info(f"report without predictions: {error}")
    with working("drawing the report"):
        return write_report(read)
