"""The network through its public interface."""

import numpy as np
import paddle
import pytest
from paddle.utils import unique_name
from rounding import LOGITS

from paddle_alexnet import AlexNet, UserError

ROWS = """
Conv2D-1 ReLU-1 AvgPool3D-1 LRN-1 MaxPool2D-1 Conv2D-2 ReLU-2 AvgPool3D-2 LRN-2 MaxPool2D-2
Conv2D-3 ReLU-3 Conv2D-4 ReLU-4 Conv2D-5 ReLU-5 MaxPool2D-3 Flatten-1
Linear-1 ReLU-6 Dropout-1 Linear-2 ReLU-7 Dropout-2 Linear-3
"""


def test_summary_shows_the_article_s_structure(capsys):
    with unique_name.guard():  # so that Paddle counts the layers from 1
        paddle.summary(AlexNet(), (None, 3, 227, 227))
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if "-" in line.split(" [")[0] and "[" in line]
    assert [row[0] for row in rows] == ROWS.split()
    assert "[1, 96, 55, 55]        34,944" in printed
    assert "[1, 256, 6, 6]" in printed
    for text in (
        "Total params: 62,071,144",
        "Forward/backward pass size (MB): 18.4",
        "Params size (MB): 236.78",
    ):
        assert text in printed


def test_blocks_are_numbered():
    names = [name for name, _ in AlexNet(num_classes=10).named_children()]
    assert names == ["block1", "block2", "block3", "block4", "block5", "block6", "block7", "out_fc"]


@pytest.mark.parametrize("lrn", ["builtin", "band", "native", "none"])
def test_lrn_switch_changes_the_backend_and_nothing_else(lrn, narrow_presets):
    network, twin = AlexNet("single", 10), AlexNet("single", 10, lrn)
    twin.set_state_dict(network.state_dict())
    network.eval()
    twin.eval()
    image = paddle.to_tensor(np.random.default_rng(0).normal(0, 1, (1, 3, 224, 224)).astype(np.float32))
    with paddle.no_grad():
        difference = float((network(image) - twin(image)).abs().max() / network(image).abs().max())
    assert (difference > 10 * LOGITS) if lrn == "none" else (difference < LOGITS)


def test_dead_fc2_quirk_leaves_the_second_linear_unread():
    network = AlexNet("fluid", quirks=["dead_fc2"])
    assert sum(int(np.prod(p.shape)) for p in network.parameters()) == 58_322_314
    network(paddle.randn([1, 3, 227, 227])).sum().backward()
    assert network.block7[0].weight.grad is None
    assert network.block6[1].weight.grad is not None


def test_unknown_names_name_the_nearest():
    with pytest.raises(UserError, match="did you mean 'paddle2'"):
        AlexNet("padle2")
    with pytest.raises(UserError, match="did you mean 'avgpool3d'"):
        AlexNet(lrn="avgpool")
    with pytest.raises(UserError, match="dead_fc2"):
        AlexNet("fluid", quirks=["lrn_exclusive"])


def test_layers_are_named_and_found_in_their_blocks(narrow_presets):
    network = AlexNet("caffenet", 10, "none")
    layers = {stage.name: layer for stage, layer in network.named_layers()}
    assert len(layers) == len(list(network.sublayers())) - len(list(network.named_children()))
    assert layers["conv2"] is network.block2[0]
    assert layers["pool2"] is network.block2[2]
    assert layers["fc8"] is network.out_fc[0]
    assert layers["fc7"].weight is dict(network.named_parameters())["block7.0.weight"]


@pytest.mark.parametrize("preset, kept, tested", [("source145", 1.0, 0.5), ("owt", 2.0, 1.0)])
def test_dropout_scales_in_evaluation_as_in_2012_or_in_training(preset, kept, tested, narrow_presets):
    dropouts = [
        layer for _, layer in AlexNet(preset, 10, "none").named_layers() if isinstance(layer, paddle.nn.Dropout)
    ]
    assert len(dropouts) == 2
    for dropout in dropouts:
        values = dropout(paddle.ones([1, 10_000])).numpy()
        assert set(np.unique(values)) == {0.0, kept}
        assert (values == 0).mean() == pytest.approx(0.5, abs=0.03)
        dropout.eval()
        assert np.unique(dropout(paddle.ones([1, 10]))) == [tested]
