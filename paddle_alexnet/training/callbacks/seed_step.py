"""Seeds per training step, for reproducibility of resumed runs."""

from typing import Any

import numpy as np
from paddle.callbacks import Callback

from paddle_alexnet.data.loader import Loader
from paddle_alexnet.training.history import History
from paddle_alexnet.training.setup import seed_everything


class SeedStep(Callback):
    """A callback that seeds the random numbers of a step, such as dropout's, by the seed, the epoch and the step."""

    def __init__(self, seed: int, history: History, loader: Loader) -> None:
        super().__init__()
        self.seed, self.history, self.loader = seed, history, loader

    def on_train_batch_begin(self, step: int, logs: dict[str, Any]) -> None:
        numbers = [self.seed, len(self.history.epochs), self.loader.position]
        first, second = map(int, np.random.SeedSequence(numbers).generate_state(2))
        seed_everything(first << 31 | second >> 1)
