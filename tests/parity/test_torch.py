"""Every preset but `tensorflow` against PyTorch: same weights in, same logits out, layer by layer.

The originals are written down here from their sources, not from the project's table.
"""

import argparse
import shutil
from collections import OrderedDict

import numpy as np
import pytest
from compare import assert_same, converted, image, on_backend, outputs

from paddle_alexnet.conversion import ConversionOptions, convert_weights
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.system.errors import UserError

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install -e ".[parity]"')
from torch import nn  # noqa: E402
from torch.nn import Conv2d, Dropout, Flatten, Linear, LocalResponseNorm, MaxPool2d, ReLU, ZeroPad2d  # noqa: E402


class Articles(nn.Module):
    """`features` and `classifier`, as the article of 2022 and torchvision have them."""

    def __init__(self, a: int, b: int, c: int, d: int, e: int, neurons: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(Conv2d(3, a, kernel_size=11, stride=4, padding=2), ReLU(inplace=True), MaxPool2d(3, stride=2)),
            *(Conv2d(a, b, kernel_size=5, padding=2), ReLU(inplace=True), MaxPool2d(3, stride=2)),
            *(Conv2d(b, c, kernel_size=3, padding=1), ReLU(inplace=True)),
            *(Conv2d(c, d, kernel_size=3, padding=1), ReLU(inplace=True)),
            *(Conv2d(d, e, kernel_size=3, padding=1), ReLU(inplace=True), MaxPool2d(3, stride=2)),
        )
        self.classifier = nn.Sequential(
            *(Dropout(0.5), Linear(e * 6 * 6, neurons), ReLU(inplace=True)),
            *(Dropout(0.5), Linear(neurons, neurons), ReLU(inplace=True)),
            Linear(neurons, 10),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), start_dim=1))


class Columns(nn.Module):
    """LRN in each of the two GPUs' columns for itself."""

    def forward(self, x):
        norm = LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
        return torch.cat([norm(column) for column in x.chunk(2, dim=1)], dim=1)


class SpatialNorm(nn.Module):
    """x / (1 + 0.001 / 25 * S) ** 0.75, S the sum of squares in a 5 x 5 window of the same channel."""

    def forward(self, x):
        channels = x.shape[1]
        ones = torch.ones(channels, 1, 5, 5)
        return x / (1 + 0.001 / 25 * nn.functional.conv2d(x * x, ones, padding=2, groups=channels)) ** 0.75


def chain(*layers):
    """A network of one row, its layers with weights named conv1 … fc3."""
    named, counts = OrderedDict(), {"conv": 0, "fc": 0}
    for i, layer in enumerate(layers):
        kind = {Conv2d: "conv", Linear: "fc"}.get(type(layer))
        if kind:
            counts[kind] += 1
        named[f"{kind}{counts[kind]}" if kind else f"{type(layer).__name__}_{i}"] = layer
    return nn.Sequential(named)


def pool():
    return MaxPool2d(3, stride=2)


def tail(*, drop=True):
    dropout = [Dropout()] if drop else []
    yield from (Flatten(), Linear(9216, 4096), ReLU(), *dropout)
    yield from (Linear(4096, 4096), ReLU(), *dropout, Linear(4096, 10))


def grouped(pad, groups4, groups5, first, second, last=()):
    """conv1 96, conv2 256 in two groups; `first`, `second` and `last` are what follows conv1, conv2 and conv5."""
    yield from (*pad, Conv2d(3, 96, 11, stride=4), *first)
    yield from (Conv2d(96, 256, 5, padding=2, groups=2), *second)
    yield from (Conv2d(256, 384, 3, padding=1), ReLU())
    yield from (Conv2d(384, 384, 3, padding=1, groups=groups4), ReLU())
    yield from (Conv2d(384, 256, 3, padding=1, groups=groups5), *(last or (ReLU(), pool())))
    yield from tail()


def whole(padding1, lrn, *, drop=True):
    """conv2 over all channels, as the `fluid` script and the article's layer table have it."""
    yield from (Conv2d(3, 96, 11, stride=4, padding=padding1), ReLU(), *lrn(), pool())
    yield from (Conv2d(96, 256, 5, padding=2), ReLU(), *lrn(), pool())
    yield from (Conv2d(256, 384, 3, padding=1), ReLU(), Conv2d(384, 384, 3, padding=1), ReLU())
    yield from (Conv2d(384, 256, 3, padding=1), ReLU(), pool())
    yield from tail(drop=drop)


def lrn_mean():
    return [LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)]


def lrn_paper():  # the paper multiplies the plain sum, PyTorch divides by n
    return [LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)]


def up_to_55():  # of 224: the code of 2012 rounds the size up
    return [ZeroPad2d((0, 3, 0, 3))]


def original(preset):
    if preset == "half":
        return Articles(48, 128, 192, 192, 128, neurons=2048)
    if preset == "owt":
        return Articles(64, 192, 384, 256, 256, neurons=4096)
    if preset == "fluid":
        return chain(*whole(0, list, drop=False))
    if preset == "single":
        return chain(*whole(2, lrn_mean))
    if preset == "paddle2":
        return chain(*grouped([], 1, 1, [ReLU(), *lrn_mean(), pool()], [ReLU(), *lrn_mean(), pool()]))
    if preset == "caffe":
        return chain(*grouped([], 2, 2, [ReLU(), *lrn_mean(), pool()], [ReLU(), *lrn_mean(), pool()]))
    if preset == "caffenet":
        return chain(*grouped([], 2, 2, [ReLU(), pool(), *lrn_mean()], [ReLU(), pool(), *lrn_mean()]))
    if preset == "paper":
        first, second = [ReLU(), *lrn_paper(), pool()], [ReLU(), *lrn_paper(), pool()]
        return chain(*grouped(up_to_55(), 2, 2, first, second))
    first, second = [Columns(), pool(), ReLU()], [ReLU(), Columns(), SpatialNorm(), pool()]
    return chain(*grouped(up_to_55(), 2, 2, first, second, last=[pool(), ReLU()]))


def layer_outputs(network, x):
    parts = [network.features, Flatten(), network.classifier] if isinstance(network, Articles) else [network]
    seen, x = [], torch.from_numpy(x)
    with torch.no_grad():
        expected = network(x)
        for part in parts:
            for name, layer in part.named_children() or [("", part)]:
                x = layer(x)
                if not isinstance(layer, (Dropout, Flatten, ZeroPad2d)):
                    seen.append((f"{name} {type(layer).__name__}", x.numpy().copy()))  # ReLU works in place
            if isinstance(part, Flatten):
                x = part(x)
        assert torch.equal(x, expected)
    return seen


SIZES = {"half": 224, "owt": 224, "fluid": 227, "single": 224, "paddle2": 227}
SIZES |= {"caffe": 227, "caffenet": 227, "paper": 224, "source145": 224}
WITHOUT_LRN = {"half", "owt", "fluid"}


@pytest.fixture(scope="module", params=SIZES)
def case(request, tmp_path_factory):
    """Our network with an original's weights, by way of a file, and what the original's layers give."""
    preset, folder = request.param, tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    network = original(preset).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 5)
            else:
                nn.init.kaiming_normal_(parameter)
    torch.save(network.state_dict(), folder / "weights.pth")
    ours, _ = converted(folder / "weights.pth", folder, preset)
    shutil.rmtree(folder)  # it would come to gigabytes
    return ours, layer_outputs(network, image(SIZES[preset]))


@pytest.mark.parametrize("lrn", ["avgpool3d", "native"])
def test_same_logits(case, lrn):
    network, theirs = case
    if lrn == "avgpool3d" and network.preset in WITHOUT_LRN:
        pytest.skip(f"{network.preset} has no LRN")
    assert_same(outputs(on_backend(network, lrn), image(network.image_size)), theirs)


@pytest.fixture(scope="module")
def half():
    torch.manual_seed(0)
    return Articles(48, 128, 192, 192, 128, neurons=2048).eval()


def save_zip(network, folder):
    torch.save(network.state_dict(), folder / "half.pth")
    return folder / "half.pth"


def save_legacy(network, folder):
    """The form before PyTorch 1.6, of a data-parallel network, with a kernel that is not contiguous."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    kernel = state["module.features.0.weight"]
    state["module.features.0.weight"] = kernel.to(memory_format=torch.channels_last)
    torch.save(state, folder / "half.pt", _use_new_zipfile_serialization=False)
    return folder / "half.pt"


def save_training(network, folder):
    """What a training script leaves: parameters, an optimizer that has made a step, numbers."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)
    network(torch.zeros(1, 3, 224, 224)).sum().backward()
    optimizer.step()
    network.zero_grad()
    state = {"epoch": torch.tensor(3), "state_dict": dict(network.named_parameters())}
    torch.save({**state, "optimizer": optimizer.state_dict()}, folder / "half.pth")
    return folder / "half.pth"


def save_reference(network, folder):
    """What torchvision's references/classification/train.py leaves: objects of the training beside the weights."""
    state = network.state_dict()
    average = {"n_averaged": torch.tensor(9), **{f"module.{name}": value + 1 for name, value in state.items()}}
    training = {"args": argparse.Namespace(lr=0.1, device=torch.device("cpu")), "epoch": 3, "scaler": None}
    torch.save({"model": state, "model_ema": average, **training}, folder / "half.pth")
    return folder / "half.pth"


def save_safetensors(network, folder):
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    library.save_file(network.state_dict(), folder / "half.safetensors")
    return folder / "half.safetensors"


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_training, save_reference, save_safetensors])
@pytest.mark.parametrize("back", ["back.pth", "back.safetensors"])
def test_round_trip_is_exact(save, back, half, tmp_path):
    key = "model" if save is save_reference else None
    convert_weights(save(half, tmp_path), tmp_path / "ours.pdparams", options=ConversionOptions(key=key))
    convert_weights(tmp_path / "ours.pdparams", tmp_path / back)
    if back.endswith(".pth"):
        state = torch.load(tmp_path / back, weights_only=True)
    else:
        library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        state = library.load_file(tmp_path / back)
    twin = Articles(48, 128, 192, 192, 128, neurons=2048)
    twin.load_state_dict(state, strict=True)
    for ours, theirs in zip(twin.state_dict().values(), half.state_dict().values()):
        assert torch.equal(ours, theirs)


def test_half_precision_becomes_float32(half, tmp_path):
    state = half.state_dict()
    rounded = {name: v.bfloat16() if "features" in name else v.half() for name, v in state.items()}
    torch.save(rounded, tmp_path / "half.pth")
    network, _ = converted(tmp_path / "half.pth", tmp_path, "half")
    for ours, theirs in zip(network.parameters(), rounded.values()):
        expected = theirs.float().numpy()
        assert np.array_equal(ours.numpy(), expected.T if expected.ndim == 2 else expected)


def test_the_moving_average_of_a_checkpoint(half, tmp_path):
    path = save_reference(half, tmp_path)
    with pytest.raises(UserError, match="choose one as key: model, model_ema"):
        convert_weights(path, tmp_path / "ours")
    converted = convert_weights(path, tmp_path / "ours", options=ConversionOptions(key="model_ema"))
    assert "left unread: argparse.Namespace, torch.device" in converted.notes
    found = load_checkpoint(tmp_path / "ours")[0].parameters()
    for ours, theirs in zip(found, half.state_dict().values()):
        expected = theirs.numpy() + 1
        assert np.array_equal(ours.numpy(), expected.T if expected.ndim == 2 else expected)
