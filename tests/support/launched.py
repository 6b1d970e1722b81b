"""`paddle-alexnet`, in processes that a test launches; knows the preset `plain`.

`FAIL` makes rank 1 fail in step 3, `STOP` has it send SIGTERM to the launcher then.
"""

import os
import signal
import sys
import time
from dataclasses import replace

from tiny import TINY

from paddle_alexnet.commands.main import main
from paddle_alexnet.network.presets import PRESETS, Dropout
from paddle_alexnet.system.errors import UserError

# Without dropout: each process draws its own.
NO_DROPOUT = replace(
    TINY,
    blocks={
        name: tuple(stage for stage in stages if not isinstance(stage, Dropout)) for name, stages in TINY.blocks.items()
    },
)


def fail(self: object, step: int, logs: object) -> None:
    if step == 2:
        if "STOP" in os.environ:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(3)  # so that it has come back from there
        elif os.environ["FAIL"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise UserError("no more of this")


if __name__ == "__main__":
    PRESETS["plain"] = NO_DROPOUT
    if {"FAIL", "STOP"} & set(os.environ) and os.environ["PADDLE_TRAINER_ID"] == "1":
        from paddle_alexnet.training.callbacks.stopping import StopOnNaN

        StopOnNaN.on_train_batch_end = fail
    sys.exit(main(sys.argv[1:]))
