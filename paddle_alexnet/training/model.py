"""`paddle.Model` with gradient accumulation and mixed precision."""

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.metric import Accuracy
from paddle.static import InputSpec

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.loader import Loader
from paddle_alexnet.evaluation.metrics import CrossEntropy, MeanLoss
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.training.distributed import global_loss, global_metric
from paddle_alexnet.training.optimizers import build_optimizer
from paddle_alexnet.training.parameter_groups import ParameterRule
from paddle_alexnet.training.schedules import Schedule, build_schedule


def compile_model(config: Config, network: AlexNet, rules: Sequence[ParameterRule], loader: Loader) -> "TrainingModel":
    """Build `paddle.Model` with the optimizer, schedule, loss, metrics and precision of a config."""
    side, rate, epochs = loader.preprocess.image_size, config.optimizer.learning_rate, config.train.epochs
    schedule = build_schedule(config.schedule, rules, learning_rate=rate, epochs=epochs, steps=len(loader))
    model = TrainingModel(
        network,
        loader=loader,
        schedule=schedule,
        accumulate=config.train.accumulate,
        inputs=InputSpec([None, 3, side, side], "float32", "image"),
        labels=InputSpec([None], "int64", "label"),
    )
    model.prepare(
        build_optimizer(config.optimizer, rules, schedule.rate),
        global_loss(CrossEntropy(config.train.label_smoothing)),
        metrics=[global_metric(metric) for metric in (MeanLoss(), Accuracy(name="top1"))],
        amp=config.train.amp,
    )
    return model


class TrainingModel(paddle.Model):
    """A `paddle.Model` that updates by the mean gradient of `accumulate` batches, weighted by their images.

    Paddle's `fit(accumulate_grad_batches=…)` sums the gradients, and restarts its count in a resumed epoch.
    """

    def __init__(
        self, network: AlexNet, *, loader: Loader, schedule: Schedule, accumulate: int = 1, **specs: Any
    ) -> None:
        super().__init__(network, **specs)
        self.loader, self.accumulate, self.schedule = loader, accumulate, schedule
        self.updated = True  # whether the last batch ended with an update, which clears the gradients

    def prepare(self, optimizer: Any, loss: nn.Layer, metrics: Any = None, amp: str = "none") -> None:
        self.loss_share = Share(loss)
        amp_configs = None if amp == "none" else {"level": amp}
        super().prepare(optimizer, self.loss_share, metrics=metrics, amp_configs=amp_configs)
        # Paddle would create it only after a state is restored.
        self._scaler = paddle.amp.GradScaler() if amp_configs else None

    def train_batch(self, inputs: Any, labels: Any = None, update: bool = True) -> Any:
        done, batches = self.loader.position, len(self.loader)
        if (done - 1) % self.accumulate == 0 and not self.updated:
            self.network.clear_gradients()  # of an incomplete group, whose last batch was unreadable
        self.loss_share.share = self.share(done)
        self.updated = done % self.accumulate == 0 or done == batches
        try:
            return super().train_batch(inputs, labels, self.updated)
        finally:
            self.loss_share.share = 1.0

    def share(self, batch: int) -> float:
        """Return the fraction of its group's images that a batch, counted from 1, has."""
        if self.accumulate == 1:
            return 1.0
        size, images = self.loader.batch_size, len(self.loader.dataset)
        first = (batch - 1) // self.accumulate * self.accumulate  # batches before the group
        group = min(images, (first + self.accumulate) * size) - first * size
        return (min(images, batch * size) - (batch - 1) * size) / group


class Share(nn.Layer):
    """A loss multiplied by `share`."""

    def __init__(self, loss: nn.Layer) -> None:
        super().__init__()
        self.loss, self.share = loss, 1.0

    def forward(self, logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        loss = self.loss(logits, label)
        return loss if self.share == 1 else loss * self.share


def in_full_precision(network: AlexNet, optimizer: paddle.optimizer.Optimizer) -> AlexNet:
    """Return the network, or a copy with the optimizer's float32 weights if the network's are float16."""
    weights = network.state_dict()
    if all(value.dtype == paddle.float32 for value in weights.values()):
        return network
    twin = AlexNet.build(network.spec)
    masters = optimizer._master_weights
    twin.set_state_dict({n: masters.get(value.name, value).astype("float32") for n, value in weights.items()})
    twin.eval()
    return twin
