"""Preset `owt` against the AlexNet that Paddle brings, which is PaddleClas'."""

import numpy as np
import paddle
import pytest
from compare import assert_same, converted, image, outputs
from paddle.nn import Conv2D, Linear, MaxPool2D

from paddle_alexnet.weights.formats import read_arrays

pytestmark = pytest.mark.parity
COMPARED = (Conv2D, Linear, MaxPool2D)  # its other layers are functions


@pytest.mark.parametrize("protocol, prefix", [(2, ""), (4, "_layers.")])  # Paddle 2.0 wrote pickles of protocol 2
def test_same_logits(protocol, prefix, tmp_path):
    paddle.seed(0)
    theirs = paddle.vision.models.alexnet(num_classes=10)
    theirs.eval()
    state = {f"{prefix}{name}": value for name, value in theirs.state_dict().items()}
    content = {"state_dict": state, "epoch": 3} if prefix else state
    paddle.save(content, str(tmp_path / "theirs.pdparams"), protocol=protocol)
    ours, _ = converted(tmp_path / "theirs.pdparams", tmp_path, "owt")
    seen = []
    for name, layer in theirs.named_sublayers():
        if isinstance(layer, COMPARED):
            layer.register_forward_post_hook(lambda _, x, y, name=name: seen.append((name, y.numpy())))
    with paddle.no_grad():
        theirs(paddle.to_tensor(image(224)))
    kinds = tuple(kind.__name__ for kind in COMPARED)
    assert_same([layer for layer in outputs(ours, image(224)) if layer[0].endswith(kinds)], seen)


def test_bfloat16_weights_that_paddle_saved_are_read(tmp_path):
    paddle.seed(0)
    value = paddle.randn([64, 3, 11, 11])
    rounded = value.astype("bfloat16")
    paddle.save({"conv1.weight": rounded}, str(tmp_path / "a.pdparams"))
    found = read_arrays(tmp_path / "a.pdparams").arrays["conv1.weight"]
    assert np.array_equal(found, rounded.astype("float32").numpy())
