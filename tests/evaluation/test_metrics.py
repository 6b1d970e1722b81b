import numpy as np
import paddle
import pytest
from rounding import FEW

from paddle_alexnet.evaluation.metrics import CrossEntropy


def test_label_smoothing_spreads_a_share_of_each_label_over_all_classes():
    logits = np.array([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, 1.0, -2.0]], np.float32)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for label in (np.array([2, 0]), np.array([[0.7, 0.3, 0, 0], [0, 0, 0.5, 0.5]], np.float32)):
        shares = np.eye(4)[label] if label.ndim == 1 else label
        for smoothing in (0.0, 0.1):
            expected = -((shares * (1 - smoothing) + smoothing / 4) * log_probabilities).sum(axis=1).mean()
            loss = CrossEntropy(smoothing)(paddle.to_tensor(logits), paddle.to_tensor(label))
            assert loss.item() == pytest.approx(expected, rel=FEW)
