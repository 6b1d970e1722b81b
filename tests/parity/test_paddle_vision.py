"""Preset `owt` against the AlexNet that Paddle brings, which is PaddleClas'."""

import paddle
import pytest
from compare import assert_same, converted, image, outputs
from paddle.nn import Conv2D, Linear, MaxPool2D

pytestmark = pytest.mark.parity
COMPARED = (Conv2D, Linear, MaxPool2D)  # its other layers are functions


@pytest.mark.parametrize("protocol", [2, 4])  # Paddle 2.0 wrote pickles of protocol 2
def test_same_logits(protocol, tmp_path):
    paddle.seed(0)
    theirs = paddle.vision.models.alexnet(num_classes=10)
    theirs.eval()
    paddle.save(theirs.state_dict(), str(tmp_path / "theirs.pdparams"), protocol=protocol)
    ours, _ = converted(tmp_path / "theirs.pdparams", tmp_path, "owt")
    seen = []
    for name, layer in theirs.named_sublayers():
        if isinstance(layer, COMPARED):
            layer.register_forward_post_hook(lambda _, x, y, name=name: seen.append((name, y.numpy())))
    with paddle.no_grad():
        theirs(paddle.to_tensor(image(224)))
    kinds = tuple(kind.__name__ for kind in COMPARED)
    assert_same([layer for layer in outputs(ours, image(224)) if layer[0].endswith(kinds)], seen)
