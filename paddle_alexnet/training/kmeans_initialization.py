"""Initialization by k-means of training patches, without labels.

The method is the first step, within each layer, of Krähenbühl, Doersch, Donahue and Darrell, Data-dependent
Initializations of Convolutional Neural Networks, ICLR 2016 (arXiv:1511.06856). Its second step, which balances the
rates of change between layers, is omitted. The k-means is from Coates and Ng, Learning Feature Representations with
K-means, 2012.
"""

import logging
from time import perf_counter
from typing import Optional

import numpy as np
import paddle

from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import Conv, Linear, padding_of
from paddle_alexnet.system.progress import working

# As in the search of docs/results.md; 20,000 patches and 10 iterations were not significantly better.
IMAGES = 256
PATCHES = 8000  # of a convolution's input
ITERATIONS = 5
LAST = 1 / 3  # standard deviation of the logits, small so that no class is certain
LEAST = 0.1  # least deviation of outputs that is scaled to 1, relative to their root mean square without the bias
FLAT = 1e-6  # largest variance, relative to the mean square, of patches without structure

_log = logging.getLogger(__name__)


@paddle.no_grad()
def find_first_weights(network: AlexNet, image: paddle.Tensor, *, seed: int) -> None:
    """Set a network's weights and biases by the statistics of preprocessed training images [N, 3, S, S].

    For each layer in forward order, the filters of a convolution become the k-means centers of whitened patches of its
    input, separately per group. Linear layers, and filters of patches without structure, keep their random weights.
    Then each output is scaled and shifted to mean 0 and standard deviation 1 over the images, the logits jointly to
    1/3. The first layer whose outputs hardly vary, such as fc6 with a single image, and all later layers are unchanged.
    """
    began, rng = perf_counter(), np.random.default_rng([seed, 0])
    layers = [(named.name, named.stage, layer) for named, layer in network.computing_layers()]
    *_, last = (layer for _, stage, layer in layers if isinstance(stage, Linear))
    network.eval()
    x = image
    for name, stage, layer in layers:
        with working(f"initializing {name}"):
            if isinstance(stage, Conv):
                shape, patches = tuple(layer.weight.shape), patches_of(x.numpy(), stage, rng)
                if all(part.var(axis=0).mean() > FLAT * (part**2).mean() for part in patches):
                    filters = [cluster(part, shape[0] // stage.groups, rng) for part in patches]
                    layer.weight.set_value(np.concatenate(filters).reshape(shape))
            x = layer(x)
            if isinstance(stage, (Conv, Linear)):
                x = _standardize(layer, x, by_channel=layer is not last, deviation=LAST if layer is last else 1.0)
        if x is None:
            break
    network.train()
    took = perf_counter() - began
    _log.info(f"initial weights: k-means of patches of {len(image)} training images, {took:.0f} s")


def cluster(patches: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Return filters, float32 [clusters, D], by spherical k-means of whitened patches, float32 [n, D].

    A filter's response to a patch is the similarity of the whitened patch to a center of unit length.
    """
    patches = patches - patches.mean(axis=0)
    covariance = patches.T @ patches / len(patches)
    ridge = covariance.trace() / len(covariance) * np.eye(len(covariance), dtype=np.float32)
    root = paddle.to_tensor(np.linalg.cholesky(covariance + ridge))  # any root gives the same k-means
    whiten = paddle.linalg.triangular_solve(root, paddle.eye(len(covariance)), upper=False).numpy()
    points = _unit(patches @ whiten.T)
    centers = points[rng.choice(len(points), clusters, replace=len(points) < clusters)]
    for _ in range(ITERATIONS):
        nearest = (points @ centers.T).argmax(axis=1)
        sums = np.eye(clusters, dtype=np.float32)[nearest].T @ points
        anew = points[rng.integers(len(points), size=clusters)]  # for empty clusters
        centers = np.where((np.bincount(nearest, minlength=clusters) > 0)[:, None], _unit(sums), anew)
    return centers @ whiten


def patches_of(x: np.ndarray, stage: Conv, rng: np.random.Generator) -> list[np.ndarray]:
    """Return random patches of a convolution's input x [N, C, H, W], [n, C / groups · k²] for each group."""
    left, right, top, bottom = padding_of(stage, x.shape[-1])
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    rows = np.lib.stride_tricks.sliding_window_view(padded, stage.kernel_size, axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(rows, stage.kernel_size, axis=3)
    windows = windows[:, :, :: stage.stride, :: stage.stride]  # [N, C, height, width, k, k]
    images, _, height, width = windows.shape[:4]
    places = rng.permutation(images * height * width)[:PATCHES]
    n, row, column = np.unravel_index(np.sort(places), (images, height, width))
    patches = windows[n, :, row, column]  # [n, C, k, k]
    return [part.reshape(len(part), -1) for part in np.split(patches, stage.groups, axis=1)]


def _standardize(
    layer: paddle.nn.Layer, y: paddle.Tensor, *, by_channel: bool, deviation: float
) -> Optional[paddle.Tensor]:
    """Scale and shift a layer's weights so that its outputs y [N, C] or [N, C, H, W] have a standard deviation.

    Return the new y, or None, with unchanged weights, if y hardly varies.
    """
    axis = [n for n in range(y.ndim) if n != 1 or not by_channel]
    by_weights = y - layer.bias.reshape([1, -1, *[1] * (y.ndim - 2)])
    least = LEAST * (by_weights * by_weights).mean().sqrt()
    mean = y.mean(axis, keepdim=True)
    y = y - mean
    std = (y * y).mean(axis, keepdim=True).sqrt()
    if float(std.mean()) <= float(least):
        return None
    scale = deviation / paddle.maximum(std, least)
    outputs = [-1, 1, 1, 1] if isinstance(layer, paddle.nn.Conv2D) else [1, -1]  # their axis in the weights
    layer.weight.set_value(layer.weight * scale.reshape(outputs))
    layer.bias.set_value((layer.bias - mean.flatten()) * scale.flatten())
    return y * scale


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
