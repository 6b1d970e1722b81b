"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): where the last convolution saw what speaks for a class."""

from collections.abc import Sequence

import numpy as np
import paddle

from paddle_alexnet.explain.layers import rectified_convolutions, watch
from paddle_alexnet.network.alexnet import AlexNet


def grad_cam(network: AlexNet, image: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """A heat map of each image [N, 3, S, S] for its class, float32 [N, h, w] of the last convolution's maps, 0 or more.

    A map's weight is the mean slope of the class's logit over it (equation 1), the heat is what is positive in the
    weighted sum of the maps (equation 2). It is 0 everywhere where nothing speaks for the class.
    """
    layer = rectified_convolutions(network)[-1]
    with watch(network, [layer]) as seen:
        logits = network(paddle.to_tensor(image))
    maps = seen[layer]
    chosen = paddle.nn.functional.one_hot(paddle.to_tensor(np.asarray(classes, np.int64)), logits.shape[1])
    (slope,) = paddle.grad((logits * chosen).sum(), maps)
    heat = (slope.mean(axis=[2, 3], keepdim=True) * maps).sum(axis=1)
    return np.asarray(paddle.nn.functional.relu(heat).numpy())
