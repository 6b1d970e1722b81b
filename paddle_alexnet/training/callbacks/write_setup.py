"""The recipe and the environment of a run in its folder, and its outline in the log."""

import logging
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.config.recipe import save_config
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.runs.environment import save_environment
from paddle_alexnet.runs.run_folder import DATA_COMMENT
from paddle_alexnet.training.distributed import rank, ranks
from paddle_alexnet.training.history import History
from paddle_alexnet.training.recipe_warnings import recipe_warnings
from paddle_alexnet.training.setup import RunSetup

_log = logging.getLogger(__name__)


class WriteSetup(Callback):
    """Write `config.yaml` and `environment.json` before the first step, and log what is trained on what."""

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
            _log.warning(f"note: {warning}")
        if run.resumed:
            done = f"{self.train.first} of {len(self.train)} steps"
            _log.info(f"going on in epoch {len(self.history.epochs) + 1}, of which {done} are done")
