"""Cross-entropy loss, and its sample-weighted mean."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.metric import Metric


def cross_entropy(logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
    """Return the cross-entropy [N] of logits [N, C] and labels [N] or, after mixup, class probabilities [N, C]."""
    if logits.dtype != paddle.float32:
        logits = logits.astype("float32")  # from mixed precision
    loss = F.cross_entropy(logits, label, soft_label=label.ndim == 2, reduction="none")
    return loss.reshape([-1])


class CrossEntropy(nn.Layer):
    """The training loss: mean cross-entropy of a batch.

    Args:
        smoothing: Share of each label that is spread evenly over all classes (Szegedy et al. 2016, section 7).
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        if self.smoothing:
            shares = F.one_hot(label, logits.shape[1]) if label.ndim == 1 else label
            label = F.label_smooth(shares, epsilon=self.smoothing)
        return cross_entropy(logits, label).mean()


class MeanLoss(Metric):
    """The mean cross-entropy over samples.

    `paddle.Model` logs the last batch's loss as `loss`, which is too noisy for early stopping, plateau schedules and
    model selection. Metrics come after it in the logs, so this metric, named `loss` too, replaces it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def compute(self, logits: paddle.Tensor, label: paddle.Tensor) -> paddle.Tensor:
        return cross_entropy(logits, label)

    def update(self, losses: np.ndarray) -> float:
        self.total += float(losses.sum(dtype=np.float64))
        self.count += losses.size
        return self.accumulate()

    def accumulate(self) -> float:
        return self.total / max(1, self.count)

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def name(self) -> str:
        return "loss"
