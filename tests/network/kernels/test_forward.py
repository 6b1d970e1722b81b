"""The compiled operators beside Paddle's own, forward and backward; in place of a network's layers; and where not."""

from functools import partial

import numpy as np
import paddle
import pytest
from helpers import metadata_of
from paddle import nn
from rounding import LOGITS

from paddle_alexnet import LRN, PRESETS, AlexNet, UserError
from paddle_alexnet.exporting.exporter import export_network
from paddle_alexnet.inference.paddle_inference import PROGRAMS
from paddle_alexnet.network.kernels import forward
from paddle_alexnet.network.presets import LRN as StageLRN
from paddle_alexnet.network.presets import Conv, Flatten, Linear, MaxPool, Preset, side_after, walk
from paddle_alexnet.network.presets import ReLU as StageReLU


def layers_of(kind):
    """The different layers of a kind in all presets: preset, name, stage, input [C, S, S]."""
    found = {}
    for preset, table in PRESETS.items():
        channels, size = 3, table.image_size
        for name, _, _, stage in walk(table):
            if isinstance(stage, kind):
                geometry = {k: v for k, v in vars(stage).items() if k not in ("std", "bias")}
                found.setdefault(
                    (channels, size, str(geometry)), pytest.param(stage, channels, size, id=f"{preset}-{name}")
                )
            if isinstance(stage, (Conv, MaxPool)):
                size = side_after(stage, size)
            channels = getattr(stage, "out_channels", channels)
            if stage.kind == "flatten":
                break
    return list(found.values())


def results(function, x, *parameters):
    """What a function gives for x, and the gradients of x and of the parameters for a gradient of the result."""
    x = paddle.to_tensor(x, stop_gradient=False)
    y = function(x)
    dy = paddle.to_tensor(np.random.default_rng(7).standard_normal(y.shape, np.float32))
    return [y, *paddle.grad([y], [x, *parameters], [dy])]


def assert_same(ours, theirs):
    for our, their in zip(ours, theirs):
        our, their = our.numpy(), their.numpy()
        assert our.shape == their.shape
        assert np.abs(our - their).max() <= LOGITS * np.abs(their).max()


def picture(channels, size, batch=2):
    return np.random.default_rng(channels).standard_normal((batch, channels, size, size), np.float32)


@pytest.mark.parametrize("stage, channels, size", layers_of(Conv))
@pytest.mark.usefixtures("compiled")
def test_every_convolution_and_its_gradients(stage, channels, size):
    check_convolution(stage, channels, size, relu=False)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.usefixtures("compiled")
def test_a_convolution_with_relu_and_its_gradients(groups):
    check_convolution(Conv(48, 5, padding=2, groups=groups), 32, 15, relu=True)


def check_convolution(stage, channels, size, *, relu):
    paddle.seed(0)
    padding = list(stage.padding) if isinstance(stage.padding, tuple) else stage.padding
    geometry = {"stride": stage.stride, "padding": padding, "groups": stage.groups}
    layer = nn.Conv2D(channels, stage.out_channels, stage.kernel_size, **geometry)
    layer.bias.set_value(paddle.randn(layer.bias.shape))
    after = nn.functional.relu if relu else paddle.assign
    x = picture(channels, size)
    ours = results(lambda x: forward.convolution(layer, stage, x, relu=relu), x, *layer.parameters())
    assert_same(ours, results(lambda x: after(layer(x)), x, *layer.parameters()))


@pytest.mark.usefixtures("compiled")
def test_the_image_gets_no_gradient_unless_it_is_asked_for():
    layer, stage = nn.Conv2D(3, 8, 11, stride=4), Conv(8, 11, stride=4)
    image = paddle.to_tensor(picture(3, 99))
    weights = [paddle.grad([forward.convolution(layer, stage, image, relu=True).sum()], [layer.weight])[0]]
    assert image.grad is None
    image.stop_gradient = False
    assert_same([paddle.grad([forward.convolution(layer, stage, image, relu=True).sum()], [layer.weight])[0]], weights)


@pytest.mark.parametrize("stage, channels, size", layers_of(MaxPool))
@pytest.mark.usefixtures("compiled")
def test_every_pool_and_its_gradient(stage, channels, size):
    layer = nn.MaxPool2D(stage.kernel_size, stride=stage.stride, padding=stage.padding)
    x = np.maximum(picture(channels, size), 0)  # as after ReLU: windows with several zeros
    assert_same(results(lambda x: forward.max_pool(stage, x), x), results(layer, x))


@pytest.mark.parametrize("geometry", [(2, 2, 0), (3, 1, 1), (5, 3, 2), (3, 2, "SAME"), (4, 5, 0)])
@pytest.mark.usefixtures("compiled")
def test_other_pools(geometry):
    stage = MaxPool(*geometry)
    x = picture(3, 23)
    layer = nn.MaxPool2D(stage.kernel_size, stride=stage.stride, padding=stage.padding)
    assert_same(results(lambda x: forward.max_pool(stage, x), x), results(layer, x))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.usefixtures("compiled")
def test_a_linear_layer_and_its_gradients(relu):
    layer = nn.Linear(300, 70)
    layer.bias.set_value(paddle.randn([70]))
    after = nn.functional.relu if relu else paddle.assign
    x = np.random.default_rng(0).standard_normal((9, 300), np.float32)
    ours = results(lambda x: forward.linear(layer, x, relu=relu), x, *layer.parameters())
    assert_same(ours, results(lambda x: after(layer(x)), x, *layer.parameters()))


@pytest.mark.parametrize("after", ["lrn", "pool"])
@pytest.mark.usefixtures("compiled")
def test_the_gradient_of_relu_may_be_taken_by_what_reads_its_result(after):
    layer, stage, x = nn.Conv2D(6, 16, 3), Conv(16, 3), picture(6, 15)

    def network(x, *, mask):
        y = forward.convolution(layer, stage, x, relu=True, mask=mask)
        return forward.max_pool(MaxPool(), y, rectified=not mask) if after == "pool" else norm(y, rectified=not mask)

    norm = partial(forward.lrn, LRN(alpha=1.0, channels=16))
    ours = results(partial(network, mask=False), x, *layer.parameters())
    assert_same(ours, results(partial(network, mask=True), x, *layer.parameters()))


@pytest.mark.usefixtures("compiled")
def test_max_pool_of_nan_is_nan():
    x = picture(1, 7)
    x[0, 0, 0, 0] = np.nan
    y = forward.max_pool(MaxPool(), paddle.to_tensor(x)).numpy()
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isnan(y).sum() == 1


@pytest.mark.usefixtures("compiled")
def test_network_with_compiled_kernels_computes_and_trains_reproducibly():
    def trained(kernels):
        paddle.seed(0)
        network = AlexNet("small", 4, "auto", kernels=kernels)
        optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
        image, label = paddle.to_tensor(picture(3, 131, batch=4)), paddle.arange(4)
        for _ in range(3):
            paddle.seed(1)
            loss = nn.functional.cross_entropy(network(image), label)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        network.eval()
        return [network(image).numpy(), *(parameter.numpy() for parameter in network.parameters())]

    first, again, plain = trained("compiled"), trained("compiled"), trained("paddle")
    assert all((a == b).all() for a, b in zip(first, again))
    # Adam divides a gradient by its own size: one of nothing but rounding moves its weight by the whole rate, 1e-3.
    assert np.abs(first[0] - plain[0]).max() <= 1e-3 * np.abs(plain[0]).max()


EVERYTHING = Preset(
    source="tests",
    image_size=64,
    num_classes=3,
    blocks={
        "block1": (Conv(16, 11, stride=4, padding=(0, 3, 0, 3)), StageLRN(groups=2), MaxPool(), StageReLU()),
        "block2": (
            Conv(24, 3, padding="SAME", groups=2),
            StageReLU(),
            StageLRN(7),
            StageLRN(3, 0.1, within_channel=True),
        ),
        "block3": (MaxPool(padding="SAME"), Flatten(), Linear(24 * 4 * 4, None)),
    },
    quirks=frozenset({"lrn_exclusive"}),
)


@pytest.mark.parametrize("quirks", [[], ["lrn_exclusive"]])
@pytest.mark.usefixtures("compiled")
def test_a_network_with_everything(quirks, monkeypatch):
    monkeypatch.setitem(PRESETS, "everything", EVERYTHING)
    network = AlexNet("everything", lrn="auto", quirks=quirks, kernels="compiled")
    twin = AlexNet("everything", lrn="auto", quirks=quirks)
    twin.set_state_dict(network.state_dict())
    x = 100 * picture(3, 64)
    assert_same(results(network, x, *network.parameters()), results(twin, x, *twin.parameters()))


@pytest.mark.usefixtures("compiled")
def test_export_of_a_network_with_compiled_kernels_has_none(tmp_path):
    network = AlexNet("small", 3, "auto", kernels="compiled")
    export_network(network, metadata_of(network), tmp_path / "model")
    [program] = [path.read_bytes() for path in (tmp_path / "model").iterdir() if path.name in PROGRAMS]
    assert b"conv2d" in program
    assert b"alexnet_first_convolution" not in program


@pytest.mark.usefixtures("compiled")
def test_who_looks_at_single_layers_sees_each_of_them_compute(capsys):
    network = AlexNet("small", 3, "auto", kernels="compiled")
    network.eval()
    image = paddle.to_tensor(picture(3, 131))
    seen = []
    hook = network.block1[0].register_forward_post_hook(lambda layer, inputs, output: seen.append(output))
    network(image)
    hook.remove()
    assert float(seen[0].min()) < 0  # before ReLU
    network(image)
    assert len(seen) == 1
    paddle.summary(network, (None, 3, 131, 131))
    printed = capsys.readouterr().out
    assert [printed.count(f" {name}-") for name in ("Conv2D", "ReLU", "LRN", "MaxPool2D")] == [5, 7, 2, 3]


@pytest.mark.usefixtures("compiled")
def test_a_layer_in_place_of_another_is_called():
    network = AlexNet("small", 3, "auto", kernels="compiled")

    class Doubled(nn.Conv2D):
        def forward(self, x):
            return 2 * super().forward(x)

    network.block3[0] = Doubled(80, 128, 3, padding=1)
    network.eval()
    image = paddle.to_tensor(picture(3, 131))
    hook = network.block1.register_forward_pre_hook(lambda layer, inputs: None)  # layer by layer
    expected = network(image)
    hook.remove()
    assert_same([network(image)], [expected])


def test_kernels_that_are_not_built_are_an_error_or_paddle_s(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert forward.choose_kernels("auto") == "paddle"
    with pytest.raises(UserError, match="build-kernels, or set model"):
        AlexNet("small", 3, kernels="compiled")
    with pytest.raises(UserError, match="did you mean 'compiled'"):
        AlexNet("small", 3, kernels="compield")
