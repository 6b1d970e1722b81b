"""Attribution: the parts of an image that a class's probability depends on.

Occlusion after Zeiler and Fergus 2014, section 4.2, arXiv:1311.2901; Grad-CAM after Selvaraju et al. 2017,
arXiv:1610.02391.
"""

from collections.abc import Sequence

import numpy as np
import paddle

from paddle_alexnet.explain.layers import rectified_convolutions, watch
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.system.progress import progress


def starts_of(side: int, square: int, stride: int) -> list[int]:
    """Return the first pixels of squares along a side, `stride` apart, and of the square at the end."""
    return [*range(0, side - square, stride), side - square]


def occlusion(
    network: AlexNet, image: np.ndarray, label: int, *, square: int, stride: int, batch_size: int = 32
) -> np.ndarray:
    """Return a class's probability while a square of the mean color covers each part of an image.

    The image is preprocessed, float32 [3, S, S]; sizes are in pixels. The result is float32 [rows, columns],
    one value for each position of `starts_of` along both sides.
    """
    starts = starts_of(image.shape[1], square, stride)
    places = [(top, left) for top in starts for left in starts]
    found: list[np.ndarray] = []
    batches = range(0, len(places), batch_size)
    for start in progress(batches, what="covering parts of the image", total=len(batches), unit="batch"):
        part = places[start : start + batch_size]
        covered = np.repeat(image[None], len(part), axis=0)
        for one, (top, left) in zip(covered, part):
            one[:, top : top + square, left : left + square] = 0
        with paddle.no_grad():
            probabilities = paddle.nn.functional.softmax(network(paddle.to_tensor(covered)))
        found.append(probabilities[:, label].numpy())
    return np.concatenate(found).reshape(len(starts), len(starts))


def by_pixel(values: np.ndarray, side: int, *, square: int, stride: int) -> np.ndarray:
    """Return the mean of `occlusion` over all squares that cover a pixel, float32 [side, side]."""
    total, count = np.zeros((2, side, side), np.float32)
    starts = starts_of(side, square, stride)
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            total[top : top + square, left : left + square] += values[row, column]
            count[top : top + square, left : left + square] += 1
    return total / np.maximum(1, count)


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
