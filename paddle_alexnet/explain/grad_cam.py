"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

from collections.abc import Sequence

import numpy as np
import paddle

from paddle_alexnet.explain.layers import rectified_convolutions, watch
from paddle_alexnet.network.alexnet import AlexNet


def grad_cam(network: AlexNet, image: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return Grad-CAM, float32 [N, h, w] of 0 or more, of images [N, 3, S, S] for one class each.

    The weight of a feature map is the mean gradient of the class's logit (equation 1). Grad-CAM is the positive part of
    the weighted sum of the last convolution's maps (equation 2).
    """
    layer = rectified_convolutions(network)[-1]
    with watch(network, [layer]) as seen:
        logits = network(paddle.to_tensor(image))
    maps = seen[layer]
    chosen = paddle.nn.functional.one_hot(paddle.to_tensor(np.asarray(classes, np.int64)), logits.shape[1])
    (slope,) = paddle.grad((logits * chosen).sum(), maps)
    heat = (slope.mean(axis=[2, 3], keepdim=True) * maps).sum(axis=1)
    return np.asarray(paddle.nn.functional.relu(heat).numpy())
