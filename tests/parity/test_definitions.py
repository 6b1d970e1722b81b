"""Four AlexNets against independent definitions, written from their public sources without a look at the table.

- `owt2014`: cuda-convnet2, layers/layers-imagenet-1gpu.cfg and layer-params-imagenet-1gpu.cfg
- `slim`: tensorflow/models, research/slim/nets/alexnet.py
- `d2l`: d2l.ai, chapter_convolutional-modern/alexnet.md, PyTorch tab (conv1 padded by 1)
- `source145`: layers/layers-145.cfg and layer-params-145.cfg of the code of 2012, its two columns as two columns

They compute in float64, in PyTorch. conv1's weights are ten times those at the start of training: with smaller ones a
ReLU in the wrong place or an LRN across the columns moves the logits by less than 1e-3.
"""

import math

import numpy as np
import paddle
import pytest
from rounding import LOGITS

from paddle_alexnet import PRESETS, AlexNet
from paddle_alexnet.network.presets import walk
from paddle_alexnet.weights.layout import LAYOUTS, choose_preset, from_state, pair, to_state

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install -e ".[parity]"')
from torch.nn import functional as F  # noqa: E402

KEEP = 0.5  # dropout's
CLASSES = 10
LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
CONVOLUTIONS = {  # out, in / groups, kernel
    "owt2014": [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)],
    "slim": [(64, 3, 11), (192, 64, 5), (384, 192, 3), (384, 384, 3), (256, 384, 3)],
    "d2l": [(96, 3, 11), (256, 96, 5), (384, 256, 3), (384, 384, 3), (256, 384, 3)],
    "source145": [(96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3)],
}
FEATURES = {"owt2014": 9216, "slim": 6400, "d2l": 6400, "source145": 9216}
# Standard deviation of the weights and bias; None: uniform within the root of 6 / (fan_in + fan_out).
INITIAL = {
    "owt2014": [(0.01, 0), (0.01, 1), (0.03, 0), (0.03, 1), (0.03, 1), (0.01, 1), (0.01, 1), (0.01, -7)],
    "source145": [(0.01, 0), (0.01, 1), (0.03, 0), (0.03, 1), (0.03, 1), (0.01, 1), (0.01, 1), (0.01, 0)],
    "slim": [(None, 0.1)] * 5 + [(0.005, 0.1), (0.005, 0.1), (0.005, 0)],
    "d2l": [(None, 0.1)] * 8,
}


def conv_ceil(x, w, b, stride, pad):
    """1 + ceil((2 pad + size - k) / stride) windows from -pad on; what lies outside the image counts as zero."""
    size, k = x.shape[-1], w.shape[-1]
    windows = 1 + math.ceil((2 * pad + size - k) / stride)
    after = (windows - 1) * stride + k - size - pad
    return F.conv2d(F.pad(x, (pad, after, pad, after)), w, b, stride=stride)


def pool_ceil(x, size=3, stride=2):
    windows = 1 + math.ceil((x.shape[-1] - size) / stride)
    after = (windows - 1) * stride + size - x.shape[-1]
    return F.max_pool2d(F.pad(x, (0, after, 0, after), value=-math.inf) if after > 0 else x, size, stride)


def cross_map_norm(x, size=5, scale=1e-4, power=0.75, min_div=2.0):
    """`cmrnorm`: the parser divides the scale by the size."""
    squares = F.pad((x * x).transpose(1, 3), (size // 2, size - 1 - size // 2))  # [N, W, H, C + size - 1]
    sums = squares.unfold(3, size, 1).sum(-1).transpose(1, 3)
    return x * (min_div + scale / size * sums) ** -power


def same_map_norm(x, size=5, scale=1e-3, power=0.75):
    """`rnorm` of 2012: the parser divides the scale by size squared, and the kernel's constant is 1."""
    before, after = size // 2, size - 1 - size // 2
    squares = F.pad(x * x, (before, after, before, after))
    sums = squares.unfold(2, size, 1).unfold(3, size, 1).sum((-1, -2))
    return x * (1 + scale / size**2 * sums) ** -power


def owt2014(weights, x):
    relu = torch.relu
    x = cross_map_norm(conv_ceil(x, *weights["conv1"], 4, 0))
    x = relu(pool_ceil(x))  # neuron=relu stands in [pool1]
    x = cross_map_norm(relu(conv_ceil(x, *weights["conv2"], 1, 2)))
    x = pool_ceil(x)
    x = relu(conv_ceil(x, *weights["conv3"], 1, 1))
    x = relu(conv_ceil(x, *weights["conv4"], 1, 1))
    x = relu(pool_ceil(conv_ceil(x, *weights["conv5"], 1, 1)))  # neuron=relu stands in [pool3]
    x = KEEP * relu(F.linear(x.flatten(1), *weights["fc6"]))  # dropout2 at test
    x = KEEP * relu(F.linear(x, *weights["fc7"]))
    return F.linear(x, *weights["fc8"])


def slim(weights, x):
    relu = torch.relu
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv1"], stride=4)), 3, 2)  # VALID
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv2"], padding=2)), 3, 2)
    x = relu(F.conv2d(x, *weights["conv3"], padding=1))
    x = relu(F.conv2d(x, *weights["conv4"], padding=1))
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv5"], padding=1)), 3, 2)
    for name, kernel in (("fc6", 5), ("fc7", 1), ("fc8", 1)):  # convolutions, VALID
        w, b = weights[name]
        x = F.conv2d(x, w.reshape(len(w), -1, kernel, kernel), b)
        x = x if name == "fc8" else relu(x)
    return x.flatten(1)


def d2l(weights, x):
    relu = torch.relu
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv1"], stride=4, padding=1)), 3, 2)
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv2"], padding=2)), 3, 2)
    x = relu(F.conv2d(x, *weights["conv3"], padding=1))
    x = relu(F.conv2d(x, *weights["conv4"], padding=1))
    x = F.max_pool2d(relu(F.conv2d(x, *weights["conv5"], padding=1)), 3, 2)
    x = relu(F.linear(x.flatten(1), *weights["fc6"]))
    x = relu(F.linear(x, *weights["fc7"]))
    return F.linear(x, *weights["fc8"])


def source145(weights, x):
    """Column a on one GPU, b on the other; joined in conv3 and from fc6 on."""
    relu = torch.relu

    def halves(name):  # of the filters
        return list(zip(*(part.chunk(2) for part in weights[name])))

    columns = [cross_map_norm(conv_ceil(x, w, b, 4, 0)) for w, b in halves("conv1")]
    columns = [relu(pool_ceil(column)) for column in columns]  # neuron=relu stands in [pool1a]
    columns = [relu(conv_ceil(column, w, b, 1, 2)) for column, (w, b) in zip(columns, halves("conv2"))]
    columns = [pool_ceil(same_map_norm(cross_map_norm(column))) for column in columns]
    both = torch.cat(columns, 1)
    columns = [relu(conv_ceil(both, w, b, 1, 1)) for w, b in halves("conv3")]
    columns = [relu(conv_ceil(column, w, b, 1, 1)) for column, (w, b) in zip(columns, halves("conv4"))]
    columns = [conv_ceil(column, w, b, 1, 1) for column, (w, b) in zip(columns, halves("conv5"))]
    columns = [relu(pool_ceil(column)) for column in columns]  # neuron=relu stands in [pool3a]
    x = KEEP * relu(F.linear(torch.cat(columns, 1).flatten(1), *weights["fc6"]))  # hs1a, hs1b at test
    x = KEEP * relu(F.linear(x, *weights["fc7"]))
    return F.linear(x, *weights["fc8"])


_norm, _spatial = cross_map_norm, same_map_norm  # which a test replaces
DEFINITIONS = {"owt2014": owt2014, "slim": slim, "d2l": d2l, "source145": source145}


def telling_weights(preset):
    """Weights of the source's initial size, conv1's times 10, as PyTorch lays them out; float32 values in float64."""
    random = torch.Generator().manual_seed(0)
    shapes = [(o, i, k, k) for o, i, k in CONVOLUTIONS[preset]]
    shapes += [(4096, FEATURES[preset]), (4096, 4096), (CLASSES, 4096)]
    weights = {}
    for name, shape, (std, bias) in zip(LAYERS, shapes, INITIAL[preset]):
        if std is None:
            std = math.sqrt(2 / (math.prod(shape[1:]) + shape[0] * math.prod(shape[2:])))
        w = torch.empty(shape).normal_(0, std * (10 if name == "conv1" else 1), generator=random)
        weights[name] = w.double(), torch.full(shape[:1], float(bias)).float().double()
    return weights


def images():
    return np.random.default_rng(0).normal(0, 60, (1, 3, 224, 224)).astype(np.float32)


def apart(logits, expected):
    """The largest difference, as a share of the largest logit, whose digits are what float32 keeps."""
    return float((logits - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module", params=DEFINITIONS)
def case(request):
    """Preset, weights, and the logits that the definition gives."""
    weights = telling_weights(request.param)
    return request.param, weights, DEFINITIONS[request.param](weights, torch.from_numpy(images()).double())


def our_logits(preset, state, lrn):
    network = AlexNet(preset, CLASSES, lrn)
    network.set_state_dict({name: paddle.to_tensor(value) for name, value in state.items()})
    network.eval()
    with paddle.no_grad():
        return torch.from_numpy(network(paddle.to_tensor(images())).numpy()).double()


@pytest.mark.parametrize("lrn", ["avgpool3d", "native"])
def test_same_logits(case, lrn):
    preset, weights, expected = case
    if lrn != "avgpool3d" and preset in ("slim", "d2l"):
        pytest.skip(f"{preset} has no LRN")
    state = {}
    for stage in walk(PRESETS[preset]):
        if stage.name in weights:
            w, b = (part.float().numpy() for part in weights[stage.name])
            state[f"{stage.block}.{stage.position}.weight"] = w.T if w.ndim == 2 else w
            state[f"{stage.block}.{stage.position}.bias"] = b
    assert apart(our_logits(preset, state, lrn), expected) <= LOGITS


def test_slim_s_checkpoint_with_convolutions_for_linear_layers(case):
    preset, weights, expected = case
    if preset != "slim":
        pytest.skip("TF-slim's alone")
    arrays = {}
    for name, (w, b) in weights.items():
        kernel = {"fc6": 5, "fc7": 1, "fc8": 1}.get(name, w.shape[-1])
        hwio = w.reshape(len(w), -1, kernel, kernel).permute(2, 3, 1, 0)
        arrays[f"alexnet_v2/{name}/weights"] = hwio.float().numpy()
        arrays[f"alexnet_v2/{name}/biases"] = b.float().numpy()
    found = pair(arrays, LAYOUTS["tensorflow"], source="file")
    assert choose_preset(found, source="file") == "slim"
    assert apart(our_logits(preset, to_state(found, preset, LAYOUTS["tensorflow"]), "none"), expected) <= LOGITS


def test_weights_for_frameworks_whose_dropout_scales_in_training(case, monkeypatch):
    preset, weights, expected = case
    if preset != "source145":
        pytest.skip("of those whose dropout scales in evaluation, one is enough")
    arrays = {f"{name}.{part}": p.float().numpy() for name, ps in weights.items() for part, p in zip("wb", ps)}
    state = to_state(pair(arrays, LAYOUTS["torch"], source="file"), preset, LAYOUTS["torch"])
    monkeypatch.setitem(globals(), "KEEP", 1)
    theirs = DEFINITIONS[preset](weights, torch.from_numpy(images()).double())
    assert apart(our_logits(preset, state, "native"), theirs) <= LOGITS
    assert apart(theirs, expected) > 0.1, "another network without the scale"
    for layer, parts in from_state(state, preset, LAYOUTS["torch"]).items():
        for part, array in zip("wb", parts):
            assert np.array_equal(array, arrays[f"{layer.name}.{part}"])


@pytest.mark.parametrize(
    "preset, name, wrong",
    [
        ("owt2014", "cross_map_norm", lambda x: _norm(torch.relu(x))),
        ("source145", "cross_map_norm", lambda x: _norm(torch.relu(x))),
        ("source145", "same_map_norm", lambda x: _spatial(x) * 1.01),
        ("owt2014", "conv_ceil", lambda x, w, b, stride, pad: F.conv2d(x, w, b, stride, 2 if stride > 1 else pad)),
    ],
    ids=[
        "ReLU before the LRN",
        "ReLU before a column's LRN",
        "spatial norm of 1 % more",
        "conv1 as torchvision's",
    ],
)
def test_a_mistake_would_show(preset, name, wrong, monkeypatch):
    weights, x = telling_weights(preset), torch.from_numpy(images()).double()
    expected = DEFINITIONS[preset](weights, x)
    monkeypatch.setitem(globals(), name, wrong)
    assert apart(DEFINITIONS[preset](weights, x), expected) > 100 * LOGITS
