"""Stop a run that cannot come to anything."""

import math
from typing import Any

from paddle.callbacks import Callback

from paddle_alexnet.errors import UserError


class StopOnNaN(Callback):
    """End the run with UserError at the first loss that is not finite: every step after it would be wasted."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} in epoch {self.epoch}, step {step + 1}: lower optimizer.learning_rate"
            )
