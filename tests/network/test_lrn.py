"""Local response normalization against a plain float64 reference, forward and backward."""

import numpy as np
import paddle
import pytest
from rounding import FEW

from paddle_alexnet import LRN, UserError
from paddle_alexnet.network import lrn
from paddle_alexnet.network.kernels import forward, library
from paddle_alexnet.network.lrn import choose_backend, usable_backends

CONVENTIONS = {
    "paddle2 and caffe": dict(size=5, alpha=1e-4, k=1.0, average=True),
    "tensorflow": dict(size=11, alpha=0.001 / 9, k=1.0, average=False),
    "paper": dict(size=5, alpha=1e-4, k=2.0, average=False),
    "source145": dict(size=5, alpha=1e-4, k=2.0, average=True, groups=2),
    "another beta": dict(size=3, alpha=1e-2, k=1.5, average=True, beta=0.5),
}
BACKENDS = [name for name in usable_backends(lrn.BACKENDS, "train") if name != "none"]

NORM = 2 * FEW  # a square, a sum, a power and a product forward, and as much again backward


def reference(x, dy, *, size, alpha, k, average, beta=0.75, groups=1):
    """y and dL/dx for dL/dy = dy, channel by channel as the formula reads. x, dy: [N, C, H, W]."""
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    a = alpha / size if average else alpha
    column = x.shape[1] // groups
    window = [
        range(max(c // column * column, c - size // 2), min((c // column + 1) * column, c + size // 2 + 1))
        for c in range(x.shape[1])
    ]
    d = np.stack([k + a * sum(x[:, j] ** 2 for j in window[c]) for c in range(x.shape[1])], axis=1)
    y = x / d**beta
    dx = dy / d**beta
    for c, neighbors in enumerate(window):
        for j in neighbors:
            dx[:, j] -= 2 * a * beta * x[:, j] * dy[:, c] * x[:, c] / d[:, c] ** (beta + 1)
    return y, dx


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    # Large values, so that the normalization, and any mistake in it, is far from negligible.
    return rng.normal(0, 40, (2, 16, 6, 7)).astype(np.float32), rng.normal(0, 1, (2, 16, 6, 7)).astype(np.float32)


@pytest.fixture
def build():
    """LRN of the settings and a backend; `compiled` is the operator in its place."""

    def lrn_layer(*, backend, **settings):
        if backend != "compiled":
            return LRN(**settings, backend=backend)
        if not library.built():
            pytest.skip("the compiled kernels are not built here: make fast")
        library.load()
        layer = LRN(**settings)
        return lambda x: forward.lrn(layer, x)

    return lrn_layer


@pytest.mark.parametrize("backend", [*BACKENDS, "compiled"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_agrees_with_the_formula(build, backend, convention, tensors):
    settings = CONVENTIONS[convention]
    x, dy = tensors
    image = paddle.to_tensor(x, stop_gradient=False)
    y = build(**settings, channels=16, backend=backend)(image)
    (y * paddle.to_tensor(dy)).sum().backward()
    expected_y, expected_dx = reference(x, dy, **settings)
    for ours, expected in ((y.numpy(), expected_y), (image.grad.numpy(), expected_dx)):
        assert np.abs(ours - expected).max() <= NORM * np.abs(expected).max()
        border = [0, 1, -2, -1]
        assert np.abs(ours - expected)[:, border].max() <= NORM * np.abs(expected[:, border]).max()


@pytest.mark.parametrize("scale", [300, 1e4, 1e8])
@pytest.mark.parametrize("backend", [*BACKENDS, "compiled"])
def test_agrees_with_the_formula_where_activations_are_large(build, backend, scale):
    rng = np.random.default_rng(1)
    # Large in a few channels, so that the small ones beside them show what rounding a running sum leaves behind.
    x, dy = rng.normal(0, 1, (2, 2, 64, 5, 5)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] *= scale
    image = paddle.to_tensor(x, stop_gradient=False)
    y = build(channels=64, backend=backend)(image)
    (y * paddle.to_tensor(dy)).sum().backward()
    expected_y, expected_dx = reference(x, dy, size=5, alpha=1e-4, k=1.0, average=True)
    assert np.abs(y.numpy() / expected_y - 1).max() <= NORM
    assert np.abs(image.grad.numpy() - expected_dx).max() <= NORM * np.abs(expected_dx).max()


def test_exclusive_quirk_changes_the_border_channels_alone(tensors):
    x = paddle.to_tensor(tensors[0])
    correct, quirk = LRN(alpha=1e-2)(x).numpy(), LRN(alpha=1e-2, exclusive=True)(x).numpy()
    differs = (np.abs(correct - quirk) > 1e-3).any(axis=(0, 2, 3))
    assert list(np.flatnonzero(differs)) == [0, 1, 14, 15]


@pytest.mark.parametrize("backend", BACKENDS)
def test_within_channel_averages_over_a_window_of_each_channel(backend, tensors):
    x = tensors[0].astype(np.float64)
    padded = np.pad(x**2, ((0, 0), (0, 0), (1, 1), (1, 1)))
    mean = sum(padded[:, :, i : i + 6, j : j + 7] for i in range(3) for j in range(3)) / 9
    y = LRN(3, 1e-2, within_channel=True, backend=backend)(paddle.to_tensor(tensors[0])).numpy()
    expected = x / (1 + 1e-2 * mean) ** 0.75
    assert np.abs(y - expected).max() <= NORM * np.abs(expected).max()


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(size=4), "odd"),
        (dict(backend="natve"), "did you mean 'native'"),
        (dict(backend="band"), "channels"),
        (dict(backend="builtin", exclusive=True), "avgpool3d"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        LRN(**settings)


@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_must_divide_the_channels(backend, tensors):
    with pytest.raises(UserError, match="groups=3: must divide the 16 channels"):
        LRN(groups=3, channels=16, backend=backend)
    if backend not in ("band", "native"):  # which need to know the channels before
        with pytest.raises(UserError, match="groups=3: must divide the 16 channels"):
            LRN(groups=3, backend=backend)(paddle.to_tensor(tensors[0]))


def test_auto_takes_the_fastest_that_the_job_allows():
    assert choose_backend("auto", "train") == "native"
    assert choose_backend("auto", "onnx") == "band"
    assert choose_backend("native", "onnx") == "band"
    assert choose_backend("builtin", "jit") == "builtin"
