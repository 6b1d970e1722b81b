"""Inference with the network itself, in Paddle's dynamic graph."""

import threading

import numpy as np
import paddle
from paddle import nn


class LiveNetwork:
    """A thread-safe network in evaluation mode: images float32 [N, 3, S, S] to logits [N, C]."""

    def __init__(self, network: nn.Layer) -> None:
        self._network = network
        self._lock = threading.Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with self._lock, paddle.no_grad():
            return self._network(paddle.to_tensor(image)).numpy()
