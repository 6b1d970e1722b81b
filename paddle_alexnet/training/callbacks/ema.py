"""Exponential moving average of the weights, for evaluation and export."""

from typing import Any, Optional

import numpy as np
import paddle
from paddle.callbacks import Callback
from pydantic import NonNegativeInt

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.typed_values import check_types


class AverageWeights(Callback):
    """A callback that updates average = decay · average + (1 - decay) · weights, for evaluation and export.

    The decay starts at (1 + updates) / (10 + updates), so that the random initial weights are soon forgotten. The
    network has the average from the start of an evaluation until this callback's `on_eval_end`; callbacks before this
    one save and export the average.
    """

    def __init__(self, network: AlexNet, *, decay: float) -> None:
        super().__init__()
        self.network, self.decay, self.updates = network, decay, 0
        self.average: dict[str, paddle.Tensor] = {}
        self.trained: Optional[dict[str, paddle.Tensor]] = None  # while the network has the average

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = check_types(dict[str, NonNegativeInt], state)["updates"]

    def set_average(self, arrays: dict[str, np.ndarray]) -> None:
        """Resume from a saved average."""
        self.average = {name: paddle.to_tensor(array) for name, array in arrays.items()}

    def on_train_begin(self, logs: Any) -> None:
        self.average = self.average or _copies(self.network.state_dict())

    @paddle.no_grad()
    def on_train_batch_end(self, step: int, logs: Any) -> None:
        if not self.model.updated:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, weight in self.network.state_dict().items():
            self.average[name].scale_(decay).add_(weight.astype("float32") * (1 - decay))

    def on_eval_begin(self, logs: Any) -> None:
        self.trained = _copies(self.network.state_dict())
        self._set(self.average)

    def on_eval_end(self, logs: Any) -> None:
        if self.trained is not None:
            self._set(self.trained)
            self.trained = None

    def _set(self, values: dict[str, paddle.Tensor]) -> None:
        for name, weight in self.network.state_dict().items():
            weight.set_value(values[name].astype(weight.dtype))


def _copies(weights: dict[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
    return {name: value.detach().clone().astype("float32") for name, value in weights.items()}
