"""The structure of every preset, pinned, and its arithmetic."""

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, run_tool
from paddle.utils import unique_name

from paddle_alexnet import PRESETS, AlexNet, UserError
from paddle_alexnet.network import alexnet
from paddle_alexnet.network.structure import compare, describe, format_table

PARAMETERS = {
    "paddle2": 62_071_144,
    "fluid": 58_322_314,
    "single": 62_378_344,
    "half": 16_630_440,
    "small": 1_520_648,
    "tensorflow": 74_732_328,
    "paper": 60_965_224,
    "source145": 60_965_224,
    "caffe": 60_965_224,
    "caffenet": 60_965_224,
    "owt": 61_100_840,
    "owt2014": 61_100_840,
    "slim": 50_303_912,
    "d2l": 50_844_008,
}
# Every layer by its first letters with the shape it gives; a shape without letters is that of the last ones.
LONG = "Fl 9216, Li Re Dr 4096, Li Re Dr 4096, Li"
LAST = f"Co Re 384×13×13, Co Re 384×13×13, Co Re 256×13×13, Ma 256×6×6, {LONG}"
FULL = f"Co Re LR 96×55×55, Ma 96×27×27, Co Re LR 256×27×27, Ma 256×13×13, {LAST} 1000"
SHAPES = {
    "paddle2": FULL,
    "single": FULL,
    "paper": FULL,
    "caffe": FULL,
    "fluid": "Co Re 96×55×55, Ma 96×27×27, Co Re 256×27×27, Ma 256×13×13, Co Re 384×13×13, Co Re 384×13×13, "
    "Co Re 256×13×13, Ma 256×6×6, Fl 9216, Li Re 4096, Li Re 4096, Li 10",
    "half": "Co Re 48×55×55, Ma 48×27×27, Co Re 128×27×27, Ma 128×13×13, Co Re 192×13×13, Co Re 192×13×13, "
    "Co Re 128×13×13, Ma 128×6×6, Fl Dr 4608, Li Re Dr 2048, Li Re 2048, Li 1000",
    "small": "Co Re LR 32×31×31, Ma 32×15×15, Co Re LR 80×15×15, Ma 80×7×7, Co Re 128×7×7, Co Re 128×7×7, "
    "Co Re 80×7×7, Ma 80×3×3, Fl 720, Li Re Dr 512, Li Re Dr 512, Li 1000",
    "tensorflow": "Co Re LR 64×56×56, Ma 64×27×27, Co Re LR 192×27×27, Ma 192×13×13, Co Re 384×13×13, "
    "Co Re 256×13×13, Co Re 256×13×13, Ma 256×7×7, Fl 12544, Li Re 4096, Li Re 4096, Li Re 1000",
    "source145": f"Co LR 96×55×55, Ma Re 96×27×27, Co Re LR LR 256×27×27, Ma 256×13×13, "
    f"Co Re 384×13×13, Co Re 384×13×13, Co 256×13×13, Ma Re 256×6×6, {LONG} 1000",
    "caffenet": f"Co Re 96×55×55, Ma LR 96×27×27, Co Re 256×27×27, Ma LR 256×13×13, {LAST} 1000",
    "owt": "Co Re 64×55×55, Ma 64×27×27, Co Re 192×27×27, Ma 192×13×13, Co Re 384×13×13, Co Re 256×13×13, "
    "Co Re 256×13×13, Ma 256×6×6, Fl Dr 9216, Li Re Dr 4096, Li Re 4096, Li 1000",
    "owt2014": f"Co LR 64×55×55, Ma Re 64×27×27, Co Re LR 192×27×27, Ma 192×13×13, "
    f"Co Re 384×13×13, Co Re 256×13×13, Co 256×13×13, Ma Re 256×6×6, {LONG} 1000",
    "slim": "Co Re 64×54×54, Ma 64×26×26, Co Re 192×26×26, Ma 192×12×12, Co Re 384×12×12, Co Re 384×12×12, "
    "Co Re 256×12×12, Ma 256×5×5, Fl 6400, Li Re Dr 4096, Li Re Dr 4096, Li 1000",
    "d2l": "Co Re 96×54×54, Ma 96×26×26, Co Re 256×26×26, Ma 256×12×12, Co Re 384×12×12, Co Re 384×12×12, "
    "Co Re 256×12×12, Ma 256×5×5, Fl 6400, Li Re Dr 4096, Li Re Dr 4096, Li 1000",
}
ROWS = """
Conv2D-1 ReLU-1 AvgPool3D-1 LRN-1 MaxPool2D-1 Conv2D-2 ReLU-2 AvgPool3D-2 LRN-2 MaxPool2D-2 Conv2D-3 ReLU-3 Conv2D-4
ReLU-4 Conv2D-5 ReLU-5 MaxPool2D-3 Flatten-1 Linear-1 ReLU-6 Dropout-1 Linear-2 ReLU-7 Dropout-2 Linear-3
"""


def unfold(text: str) -> list[tuple[str, str]]:
    """`Co Re 96×55×55` as [("Co", "96×55×55"), ("Re", "96×55×55")]."""
    return [(kind, part.split()[-1]) for part in text.split(", ") for kind in part.split()[:-1]]


@pytest.fixture(scope="module")
def paddle2():
    return describe(AlexNet()).set_index("layer")


@pytest.fixture
def zero_weights(monkeypatch):
    """Weights are not drawn, which takes most of the time, where only their number counts."""
    zero = paddle.ParamAttr(initializer=paddle.nn.initializer.Constant(0.0))
    attributes = {"weight_attr": zero, "bias_attr": zero}
    monkeypatch.setattr(alexnet, "_initial_attributes", lambda *_: attributes)


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_and_every_output_shape(preset, zero_weights):
    table = describe(AlexNet(preset))
    assert table["parameters"].sum() == PARAMETERS[preset]
    shapes = ["×".join(map(str, shape[1:])) for shape in table["output_shape"]]
    assert [(kind[:2], shape) for kind, shape in zip(table["type"], shapes)] == unfold(SHAPES[preset])


def test_summary_prints_the_article_s_rows_then_the_table():
    with unique_name.guard():  # so that Paddle counts the layers from 1
        result = run_tool("summary", "paddle2")
    assert result.returncode == 0, result.stderr
    article, _, table = result.stdout.partition("Total params: 62,071,144")
    assert [line.split()[0] for line in article.splitlines() if "[[" in line] == ROWS.split()
    assert "Params size (MB): 236.78" in table
    rows = [line.split() for line in table.splitlines()]
    assert ["block1", "subtotal", "34,944", "0.06", "105,415,200", "214,294,272"] in rows
    assert ["network", "total", "62,071,144", "100.00", "911,307,296", "1,828,545,792"] in rows


def test_arithmetic_by_hand(paddle2):
    assert paddle2.loc["conv1", "macs"] == 55 * 55 * 96 * 3 * 11 * 11
    assert paddle2.loc["conv2", "macs"] == 27 * 27 * 256 * 48 * 5 * 5
    assert paddle2.loc["conv3", "macs"] == 13 * 13 * 384 * 256 * 3 * 3
    assert paddle2.loc["conv4", "macs"] == 13 * 13 * 384 * 384 * 3 * 3
    assert paddle2.loc["conv5", "macs"] == 13 * 13 * 256 * 384 * 3 * 3
    assert paddle2.loc["fc6", "macs"] == 9216 * 4096
    assert paddle2.loc["fc8", "macs"] == 4096 * 1000
    assert (paddle2.loc[paddle2["macs"] > 0, "flops"] == 2 * paddle2.loc[paddle2["macs"] > 0, "macs"]).all()
    assert paddle2.loc["relu1", "flops"] == 96 * 55 * 55
    assert paddle2.loc["lrn1", "flops"] == 96 * 55 * 55 * (5 + 4)
    assert paddle2.loc["pool1", "flops"] == 96 * 27 * 27 * 8
    assert paddle2.loc[["flatten5", "dropout6"], "flops"].sum() == 0
    assert paddle2["share"].sum() == pytest.approx(100)


def test_receptive_fields_of_the_literature(paddle2):
    layers = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"]
    assert paddle2.loc[layers, "receptive_field"].tolist() == [11, 19, 51, 67, 99, 131, 163, 195]
    assert paddle2.loc[layers, "jump"].tolist() == [4, 8, 8, 16, 16, 16, 16, 32]
    assert paddle2.loc["fc6", "receptive_field"] == 227
    spatial_norm = describe(AlexNet("source145", 10)).set_index("layer").loc["spatial_norm2"]
    assert (spatial_norm["receptive_field"], spatial_norm["jump"]) == (51 + 4 * 8, 8)


def test_receptive_field_is_what_the_gradient_reaches():
    network = AlexNet("half", 10)
    table = describe(network).set_index("layer")
    for name, index in (("pool1", 2), ("pool2", 5), ("conv4", 8)):
        image = paddle.randn([1, 3, 224, 224])
        image.stop_gradient = False
        x = image
        for part in network.features[: index + 1]:
            # Linear in place of ReLU, mean in place of max: all that a unit can see, whatever the weights.
            if isinstance(part, paddle.nn.MaxPool2D):
                x = paddle.nn.functional.avg_pool2d(x, 3, 2)
            elif not isinstance(part, paddle.nn.ReLU):
                x = part(x)
        middle = x.shape[2] // 2
        x[:, :, middle, middle].sum().backward()
        rows = np.flatnonzero(np.abs(image.grad.numpy()).sum((0, 1, 3)))
        assert rows.max() - rows.min() + 1 == table.loc[name, "receptive_field"], name


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="paddle.flops raises with NumPy 2.4")
@pytest.mark.parametrize("preset", ["paddle2", "paper", "half"])
def test_macs_agree_with_paddle(preset, zero_weights, capsys):
    network = AlexNet(preset, lrn="avgpool3d")
    table = describe(network)
    counted = paddle.flops(network, [1, 3, network.image_size, network.image_size])
    capsys.readouterr()
    # Paddle's count is of MACs, of each convolution's bias and of AvgPool3D's outputs.
    outputs = table["output_shape"].map(np.prod)
    assert table["macs"].sum() == counted - outputs[table["type"].isin(["Conv2D", "LRN"])].sum()


def test_describe_counts_the_batch_and_leaves_the_network_as_it_was():
    network = AlexNet("half", 10)
    one, three = describe(network), describe(network, batch_size=3)
    assert three["macs"].sum() == 3 * one["macs"].sum()
    assert three["parameters"].sum() == one["parameters"].sum()
    assert network.training and network.features[0].training
    assert not network.features[0]._forward_post_hooks
    with pytest.raises(UserError, match="batch size"):
        describe(network, batch_size=0)


def test_layers_left_out_by_a_quirk_compute_nothing():
    table = describe(AlexNet("fluid", quirks=["dead_fc2"])).set_index("layer")
    assert table.loc["fc7", "output_shape"] is None
    assert (table.loc["fc7", "macs"], table.loc["fc7", "parameters"]) == (0, 16_781_312)
    assert "not run" in format_table(table.reset_index())


@pytest.mark.slow
def test_diff_aligns_within_each_layer_and_marks_what_differs():
    table = compare("paper", "source145").set_index("what")
    assert table.loc["conv1", "mark"] == table.loc["relu2", "mark"] == table.loc["parameters", "mark"] == ""
    assert table.loc["lrn1", "mark"] == table.loc["conv3", "mark"] == table.loc["LRN", "mark"] == "*"
    assert table.loc["relu1", ["paper", "source145"]].to_numpy().tolist() == [["→ 96×55×55", "-"], ["-", "→ 96×27×27"]]
    assert table.loc["spatial_norm2", "paper"] == "-"
    assert table.loc["dropout6", "source145"] == "0.5, downscale_in_infer → 4096"
    assert table.loc["conv3", "source145"] == "384, 3/1/1, std 0.03, bias 0 → 384×13×13"
    assert (compare("half", "half")["mark"] == "").all()
    assert (
        compare("slim", "d2l").set_index("what").loc["conv2", "slim"]
        == "192, 5/1/2, Xavier uniform, bias 0.1 → 192×26×26"
    )
    table = compare("fluid", "paddle2", num_classes=5).set_index("what")
    assert table.loc["classes", "fluid"] == table.loc["classes", "paddle2"] == "5"
    assert table.loc["conv4", "mark"] == ""
    assert table.loc["conv2", "fluid"] == "256, 5/1/2 → 256×27×27"


@pytest.mark.slow
def test_diff_prints_a_line_per_stage():
    result = run_tool("summary", "--diff", "caffe", "caffenet")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["caffe", "caffenet"]
    assert "   parameters  60,965,224" in result.stdout
    assert "*  conv2       256, 5/1/2/g2, std 0.01, bias 0.1 → 256×27×27" in result.stdout


@pytest.mark.slow
def test_summary_with_wrong_arguments_is_a_user_error():
    assert_user_error(run_tool("summary", "cafenet"), "did you mean 'caffenet'")
    assert_user_error(run_tool("summary", "half", "--num-classes", 0), "num-classes")
    assert_user_error(run_tool("summary", "half", "--fidelity"), "preset")
    with pytest.raises(UserError, match="did you mean 'half'"):
        compare("half", "hlf")
