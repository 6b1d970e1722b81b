"""Caffe's two networks, weights as Caffe stores them: same picture in, same logits out."""

import numpy as np
import pytest
from caffe_proto import encode
from compare import assert_same, converted, difference, outputs, random_weights
from rounding import LOGITS

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install -e ".[parity]"')
from torch.nn import functional as F  # noqa: E402

NAMES = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
SHAPES = [(96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)]
SHAPES += [(4096, 9216), (4096, 4096), (10, 4096)]
MEAN_BGR = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)  # of ilsvrc12, as Caffe gives it


@pytest.fixture(scope="module")
def weights():
    shapes = [shape for weight in SHAPES for shape in (weight, weight[:1])]
    values = random_weights(shapes, [int(np.prod(shape[1:])) for shape in shapes])
    return {name: [values[2 * i], values[2 * i + 1]] for i, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(2).integers(0, 256, (2, 227, 227, 3), dtype=np.uint8)


def caffe_outputs(weights, picture, *, pool_first):
    """deploy.prototxt: BGR, pixels 0..255 less the mean pixel."""
    w = {name: [torch.from_numpy(value) for value in values] for name, values in weights.items()}
    seen, x = [], torch.from_numpy((picture[..., ::-1] - MEAN_BGR).transpose(0, 3, 1, 2).copy())

    def note(name, y):
        seen.append((name, y.numpy()))
        return y

    def relu(x):
        return note("relu", F.relu(x))

    def lrn(x):
        return note("norm", F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0))

    def pool(x):
        return note("pool", F.max_pool2d(x, 3, stride=2))

    x = relu(note("conv1", F.conv2d(x, *w["conv1"], stride=4)))
    x = lrn(pool(x)) if pool_first else pool(lrn(x))
    x = relu(note("conv2", F.conv2d(x, *w["conv2"], padding=2, groups=2)))
    x = lrn(pool(x)) if pool_first else pool(lrn(x))
    x = relu(note("conv3", F.conv2d(x, *w["conv3"], padding=1)))
    x = relu(note("conv4", F.conv2d(x, *w["conv4"], padding=1, groups=2)))
    x = pool(relu(note("conv5", F.conv2d(x, *w["conv5"], padding=1, groups=2))))
    x = relu(note("fc6", F.linear(x.flatten(1), *w["fc6"])))
    x = relu(note("fc7", F.linear(x, *w["fc7"])))
    note("fc8", F.linear(x, *w["fc8"]))
    return seen


def save_npz(weights, folder):
    named = {f"{name}_{part}": value for name in weights for part, value in zip("wb", weights[name])}
    np.savez(folder / "caffe.npz", **named)
    return folder / "caffe.npz"


def save_npy(weights, folder):
    np.save(folder / "caffe.npy", np.array(weights, dtype=object), allow_pickle=True)
    return folder / "caffe.npy"


def save_caffemodel(weights, folder):
    (folder / "bvlc.caffemodel").write_bytes(encode(weights))
    return folder / "bvlc.caffemodel"


def save_caffemodel_of_2014(weights, folder):
    (folder / "bvlc.caffemodel").write_bytes(encode(weights, modern=False))
    return folder / "bvlc.caffemodel"


def save_caffe_tensorflow(weights, folder):
    """As caffe-tensorflow turns them: [k, k, in, out], [in, out], and fc6 reads (H, W, C)."""
    turned = {}
    for name, (weight, bias) in weights.items():
        if weight.ndim == 4:
            weight = weight.transpose(2, 3, 1, 0)
        elif name == "fc6":
            weight = weight.reshape(4096, 256, 6, 6).transpose(2, 3, 1, 0).reshape(9216, 4096)
        else:
            weight = weight.T
        turned[name] = {"weights": np.ascontiguousarray(weight), "biases": bias}
    return save_npy(turned, folder)


@pytest.mark.parametrize(
    "preset, save",
    [
        ("caffe", save_npz),
        ("caffenet", save_npy),
        ("caffe", save_caffe_tensorflow),
        ("caffenet", save_caffemodel),
        ("caffe", save_caffemodel_of_2014),
    ],
    ids=["caffe npz", "caffenet npy", "caffe-tensorflow npy", "caffenet caffemodel", "caffe caffemodel of 2014"],
)
def test_same_logits(preset, save, weights, picture, tmp_path):
    network, metadata = converted(save(weights, tmp_path), tmp_path, preset)
    ours = outputs(network, metadata.preprocess.batch(picture))
    assert_same(ours, caffe_outputs(weights, picture, pool_first=preset == "caffenet"))
    _, other = caffe_outputs(weights, picture, pool_first=preset != "caffenet")[-1]
    assert difference(ours[-1][1], other) > 100 * LOGITS, "the two networks are told apart"
