"""What the parity tests share: a converted network run layer by layer, and held beside an original."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from rounding import LOGITS

from paddle_alexnet.conversion import convert_weights
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.metadata import Metadata

Outputs = list[tuple[str, np.ndarray]]  # a layer's name, what it gives


def image(size: int, *, images: int = 2) -> np.ndarray:
    """[N, 3, S, S] float32, so large that the normalization, and any mistake in it, counts."""
    return np.random.default_rng(1).normal(0, 50, (images, 3, size, size)).astype(np.float32)


def converted(source: Path, folder: Path, preset: str) -> tuple[AlexNet, Metadata]:
    """The checkpoint that a file of weights is converted to; the file is removed, for it is large."""
    convert_weights(source, folder / "ours", preset=preset)
    loaded = load_checkpoint(folder / "ours")
    shutil.rmtree(folder / "ours")
    source.unlink(missing_ok=True)  # a TensorFlow checkpoint is named by a prefix
    return loaded


def on_backend(network: AlexNet, lrn: str) -> AlexNet:
    """The network, with the same weights, on another LRN backend."""
    if lrn == network.lrn:
        return network
    twin = AlexNet(network.preset, network.num_classes, lrn)
    twin.set_state_dict(network.state_dict())
    twin.eval()
    return twin


def outputs(network: nn.Layer, x: np.ndarray) -> Outputs:
    """What each layer gives, without those that change nothing or only the shape."""
    seen: Outputs = []
    tensor = paddle.to_tensor(x)
    with paddle.no_grad():
        for block, layers in network.named_children():
            for index, layer in layers.named_children():
                tensor = layer(tensor)
                if not isinstance(layer, (nn.Dropout, nn.Flatten)):
                    seen.append((f"{block}.{index} {type(layer).__name__}", tensor.numpy()))
        assert np.array_equal(tensor.numpy(), network(paddle.to_tensor(x)).numpy())
    return seen


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    assert ours.shape == theirs.shape, f"{ours.shape} and {theirs.shape}"
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def assert_same(ours: Outputs, theirs: Outputs) -> None:
    """Same logits; where not, say in which layer the networks part."""
    assert len(ours) == len(theirs), f"{[name for name, _ in ours]} and {[name for name, _ in theirs]}"
    apart = [
        f"{name} / {original}: {share:.1e}"
        for (name, a), (original, b) in zip(ours, theirs)
        if not (share := difference(a, b)) <= LOGITS
    ]
    assert np.abs(theirs[-1][1]).max() > 0, "an original that gives nothing proves nothing"
    assert not apart, f"they part at {apart[0]}; then {apart[1:]}"


def random_weights(shapes: Sequence[tuple[int, ...]], fans: Sequence[int]) -> list[np.ndarray]:
    """Weights that keep activations as large as they come in (He et al. 2015), and biases that count."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal(shape, np.float32) * np.float32(5 if len(shape) == 1 else (2 / fan) ** 0.5)
        for shape, fan in zip(shapes, fans)
    ]
