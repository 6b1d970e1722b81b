"""Early stopping, NaN checks, and a warning if a run does not learn."""

import logging
import math
from typing import Any, Optional

import paddle
from paddle import nn
from paddle.callbacks import Callback

from paddle_alexnet.data.loader import Loader
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.training.history import History

_log = logging.getLogger(__name__)


class StopOnNaN(Callback):
    """A callback that raises UserError at the first loss, output or weight that is not finite.

    Outputs are checked before the update, with the weights that computed them, to name the first layer with NaN.
    Weights are checked every `EVERY` steps and before saving, because Paddle's `relu(NaN)` is 0.
    """

    EVERY = 100

    def __init__(self, history: History, loader: Loader, *, learning_rate: float) -> None:
        super().__init__()
        self.history, self.loader = history, loader
        self.learning_rate = learning_rate  # initial
        self.hook: Optional[Any] = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
        self.hook = self.model.network.register_forward_post_hook(self._check)

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        if not math.isfinite(logs["loss"]):
            raise self._error("although all outputs are")
        if self.loader.position % self.EVERY == 0:
            self.check_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.close()  # an exported network must not have the hook
        self.check_weights()

    def check_weights(self) -> None:
        """Raise UserError that names the first layer whose weights are not finite."""
        network = self.model.network
        if bool(paddle.stack([paddle.isfinite(weight).all() for weight in network.parameters()]).all().item()):
            return
        layers = ((stage.name, layer) for stage, layer in network.named_layers())
        name = next(name for name, layer in layers if not all(map(_finite, layer.parameters())))
        raise UserError(
            f"epoch {len(self.history.epochs) + 1}, step {self.loader.position}: the weights of {name} are not finite, "
            f"because {self._cause()}"
        )

    def close(self) -> None:
        """Remove the check from the network."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None

    def _check(self, network: AlexNet, inputs: tuple[paddle.Tensor, ...], logits: paddle.Tensor) -> None:
        if not _finite(logits):
            self.close()
            raise self._error(f"first in {first_not_finite(network, *inputs)}")

    def _error(self, where: str) -> UserError:
        return UserError(
            f"epoch {len(self.history.epochs) + 1}, step {self.loader.position}: the loss is not finite, "
            f"{where}, because {self._cause()}"
        )

    def _cause(self) -> str:
        now, initial = self.model._optimizer.get_lr(), self.learning_rate
        changed = "" if math.isclose(now, initial, rel_tol=1e-5) else f" (now {now:g} by the schedule)"
        return f"optimizer.learning_rate={initial:g}{changed} is too high; lower it"


class WarnOfNoProgress(Callback):
    """A callback that warns once if the mean loss of an epoch is that of guessing, the log of the number of classes."""

    ENOUGH = 100  # least steps of an epoch; small initial weights delay learning
    NEAR = 0.01  # relative difference of the losses

    def __init__(self, history: History, loader: Loader, classes: int) -> None:
        super().__init__()
        self.history, self.loader, self.classes = history, loader, classes
        self.warned = False

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        guessing, epoch = math.log(self.classes), self.history.last
        if self.warned or len(self.loader) < self.ENOUGH or abs(epoch.train_loss - guessing) > self.NEAR * guessing:
            return
        self.warned = True
        if abs(epoch.val_loss - guessing) < 1e-3 * guessing:
            cause = (
                "all images get the same prediction; either units are dead (lower optimizer.learning_rate), or the "
                "weights are still near their small initial values (increase the rate, or train for more epochs)"
            )
        else:
            cause = "the labels do not match their images, or optimizer.learning_rate is too low"
        _log.warning(
            f"epoch {epoch.epoch}: the training loss {epoch.train_loss:.3f} is that of guessing among "
            f"{self.classes} classes; likely cause: {cause}"
        )


class StopEarly(Callback):
    """A callback that ends the run after `patience` epochs without a lower mean validation loss; 0 is never."""

    def __init__(self, history: History, *, patience: int) -> None:
        super().__init__()
        self.history, self.patience = history, patience

    def on_eval_end(self, logs: dict[str, Any]) -> None:
        if self.patience and self.history.waited >= self.patience:
            self.model.stop_training = True


def first_not_finite(network: AlexNet, image: paddle.Tensor) -> str:
    """Name the first images, weights or output, in forward order, with a value that is not finite."""
    if not _finite(image):
        return "the images"
    found: list[str] = []

    def look(name: str, layer: nn.Layer) -> Any:
        def after(_layer: nn.Layer, _inputs: Any, output: paddle.Tensor) -> None:
            if not found and not all(map(_finite, layer.parameters())):
                found.append(f"the weights of {name}")
            elif not found and not _finite(output):
                found.append(f"the output of {name}")

        return layer.register_forward_post_hook(after)

    hooks = [look(stage.name, layer) for stage, layer in network.named_layers()]
    try:
        with paddle.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "the network"


def _finite(values: paddle.Tensor) -> bool:
    return bool(paddle.isfinite(values).all().item())
