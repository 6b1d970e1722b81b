"""`paddle-alexnet`, in processes that a test launches; knows the preset `plain`, and `FAIL` ends rank 1 in step 3."""

import os
import sys
from dataclasses import replace

from tiny import TINY

from paddle_alexnet.commands.main import main
from paddle_alexnet.errors import UserError
from paddle_alexnet.network.presets import PRESETS, Dropout

# Without dropout: each process draws its own.
NO_DROPOUT = replace(
    TINY,
    blocks={
        name: tuple(stage for stage in stages if not isinstance(stage, Dropout)) for name, stages in TINY.blocks.items()
    },
)


def fail(self: object, step: int, logs: object) -> None:
    if step == 2:
        if os.environ["FAIL"] == "killed":
            os.kill(os.getpid(), 9)
        raise UserError("no more of this")


if __name__ == "__main__":
    PRESETS["plain"] = NO_DROPOUT
    if "FAIL" in os.environ and os.environ["PADDLE_TRAINER_ID"] == "1":
        from paddle_alexnet.training.callbacks.guard import StopOnNaN

        StopOnNaN.on_train_batch_end = fail
    sys.exit(main(sys.argv[1:]))
