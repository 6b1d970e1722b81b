"""First weights found in the training images: what they come to for the network, and for a run."""

import shutil

import numpy as np
import paddle
import pandas as pd
import pytest
from helpers import small_config
from paddle.nn import functional
from rounding import LOGITS
from tiny import narrow

from paddle_alexnet import UserError, train
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.network.presets import PRESETS, Conv, Linear
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.training import kmeans_initialization as first_weights
from paddle_alexnet.training.kmeans_initialization import cluster, find_first_weights, patches_of


def outputs(network: AlexNet, image: paddle.Tensor) -> dict[str, np.ndarray]:
    """What each convolution and linear layer makes of images, by its name."""
    network.eval()
    found, x = {}, image
    with paddle.no_grad():
        for named, layer in network.computing_layers():
            x = layer(x)
            if isinstance(named.stage, (Conv, Linear)):
                found[named.name] = x.numpy()
    network.train()
    return found


@pytest.fixture(autouse=True)
def fewer_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for filters, at a quarter of the time."""
    monkeypatch.setattr(first_weights, "PATCHES", 2000)


@pytest.fixture
def image() -> paddle.Tensor:
    """Of some structure, and of another mean and scale than a network expects: [24, 3, 131, 131]."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(2, 3, (24, 3, 17, 17)).astype(np.float32)
    return functional.interpolate(paddle.to_tensor(coarse), [131, 131], mode="bilinear")


@pytest.mark.parametrize("preset", ["small", "tensorflow", "source145"])
def test_each_output_of_each_layer_has_mean_0_and_deviation_1_over_the_images(preset, image, monkeypatch):
    monkeypatch.setitem(PRESETS, preset, narrow(PRESETS[preset]))
    network = AlexNet(preset, 10, "native")
    image = functional.interpolate(image[: 24 if preset == "small" else 8], [network.image_size] * 2, mode="bilinear")
    before = outputs(network, image)["conv1"].std()
    assert not 0.8 < before < 1.25
    find_first_weights(network, image, seed=0)
    *inner, last = outputs(network, image).values()
    # Outputs are measured where their mean may be 100 deviations from 0: 100 times LOGITS, and as much for each of the
    # layers before.
    for y in inner:
        axes = (0, 2, 3) if y.ndim == 4 else (0,)
        np.testing.assert_allclose(y.mean(axes), 0, atol=2e-3)
        np.testing.assert_allclose(y.std(axes), 1, rtol=1e-2)
    assert last.mean() == pytest.approx(0, abs=1e-3)
    assert last.std() == pytest.approx(1 / 3, rel=1e-2)
    assert network.training


def test_kmeans_filters_depend_on_images_and_seed_alone(image):
    def found(seed: int) -> dict[str, np.ndarray]:
        paddle.seed(3)
        network = AlexNet("small", 10, "native")
        find_first_weights(network, image, seed=seed)
        weights = {name: value.numpy() for name, value in network.state_dict().items()}
        return {**weights, "next": paddle.rand([3]).numpy()}

    first, again, other = found(1), found(1), found(2)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    assert np.abs(first["block1.0.weight"] - other["block1.0.weight"]).max() > 1e-3
    np.testing.assert_array_equal(first["next"], other["next"])


@pytest.mark.parametrize(
    "stage",
    [
        Conv(6, 5, padding=2, groups=2),
        Conv(4, 3, stride=2, padding=(0, 3, 1, 2)),
        Conv(4, 4, stride=3, padding="SAME"),
        Conv(4, 11, stride=4),
    ],
)
def test_patches_are_what_the_convolution_sees(stage):
    """All of them: times the filters they are all the convolution's outputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 23, 23)).astype(np.float32)
    top, bottom, left, right = stage.padding if isinstance(stage.padding, tuple) else (0, 0, 0, 0)
    layer = paddle.nn.Conv2D(
        4,
        stage.out_channels,
        stage.kernel_size,
        stage.stride,
        [top, bottom, left, right] if isinstance(stage.padding, tuple) else stage.padding,
        groups=stage.groups,
        bias_attr=False,
    )
    expected = layer(paddle.to_tensor(x)).numpy().transpose(1, 0, 2, 3).reshape(stage.out_channels, -1)
    filters = np.split(layer.weight.numpy().reshape(stage.out_channels, -1), stage.groups)
    found = np.concatenate([f @ p.T for f, p in zip(filters, patches_of(x, stage, rng))])
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=LOGITS)


def test_patches_of_many_images_are_limited(monkeypatch):
    monkeypatch.setattr(first_weights, "PATCHES", 50)
    (patches,) = patches_of(np.zeros((2, 3, 23, 23), np.float32), Conv(4, 3), np.random.default_rng(0))
    assert patches.shape == (50, 27)


def test_filters_tell_what_patches_are_of_and_not_how_bright_they_are():
    """Sixteen kinds, and brightness that varies eight times as much along one direction: what whitening is for."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.concatenate([np.eye(8), -np.eye(8)]), 60, axis=0)
    bright = rng.normal(size=(len(kinds), 1)) * np.ones(8)
    patches = (kinds + rng.normal(0, 0.03, kinds.shape) + bright + 5).astype(np.float32)
    filters = cluster(patches, 16, np.random.default_rng(0))
    answers = ((patches - patches.mean(0)) @ filters.T).argmax(axis=1).reshape(16, 60)
    commonest = [np.bincount(row, minlength=16) for row in answers]
    assert np.mean([row.max() for row in commonest]) > 0.55 * 60  # 0.44 without
    assert len({int(row.argmax()) for row in commonest}) >= 12, "most kinds have a filter of their own"  # 7 without


def test_too_few_patches_have_filters_too():
    filters = cluster(np.eye(12, dtype=np.float32)[:3], 8, np.random.default_rng(0))
    assert filters.shape == (8, 12)
    assert np.isfinite(filters).all()


@pytest.mark.parametrize("images", ["black", "of one color", "alike", "two", "one"])
def test_images_that_tell_little_leave_a_network_that_can_learn(image, images):
    """A deviation of next to nothing is not scaled to 1, nor are filters found where nothing is."""
    shown = {
        "black": paddle.zeros([4, 3, 131, 131]),
        "of one color": paddle.ones([8, 3, 131, 131]) * image[:8, :, :1, :1],
        "alike": image[:1].tile([8, 1, 1, 1]),
        "two": image[:2],
        "one": image[:1],
    }[images]
    network = AlexNet("small", 10, "native")
    drawn = {name: float(value.abs().max()) for name, value in network.state_dict().items()}
    find_first_weights(network, shown, seed=0)
    for name, value in network.state_dict().items():
        assert np.isfinite(value.numpy()).all(), name
        if name.endswith("weight"):
            assert drawn[name] / 1000 < float(value.abs().max()) < 100 * drawn[name], name
    unseen = outputs(network, image[2:])["fc8"]
    assert 1e-4 < unseen.std() < 30


def test_a_layer_that_a_quirk_leaves_out_stays_as_it_was_drawn(monkeypatch):
    monkeypatch.setitem(PRESETS, "fluid", narrow(PRESETS["fluid"]))
    network = AlexNet("fluid", quirks=["dead_fc2"])
    before = network.block7[0].weight.numpy()
    find_first_weights(network, paddle.rand([2, 3, 227, 227]), seed=0)
    np.testing.assert_array_equal(network.block7[0].weight.numpy(), before)


def test_train_starts_from_kmeans_filters_unless_it_has_weights(finished_run, demo_set, tmp_path):
    def first_epoch(*overrides: str) -> float:
        config = small_config(demo_set, tmp_path / "run", "train.epochs=1", "data.resize=150", *overrides)
        return train(config).history[0].train_loss

    drawn, found = first_epoch(), first_epoch("model.initialization=kmeans")
    assert drawn != found
    given = f"model.weights={finished_run.output}"
    assert first_epoch(given, "model.initialization=kmeans") == first_epoch(given)


def test_images_that_cannot_be_read_are_passed_over_and_named_unless_they_are_too_many(demo_set, tmp_path, caplog):
    root = shutil.copytree(demo_set, tmp_path / "data")
    table = pd.read_csv(root / "labels.csv")
    broken = [root / name for name in table.filename[table.split == "train"]]
    broken[0].write_bytes(b"no image")
    overrides = ["train.epochs=1", "model.initialization=kmeans"]
    train(small_config(root, tmp_path / "run", "data.fault_limit=1", *overrides))
    assert caplog.text.count("skipped: ") == 1
    with pytest.raises(UserError, match=broken[0].name):
        train(small_config(root, tmp_path / "run", *overrides))
    for path in broken:
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"all of 30 random train images are unreadable"):
        train(small_config(root, tmp_path / "run", "data.fault_limit=99", *overrides))


def test_a_run_that_goes_on_keeps_what_it_has_learned(demo_set, tmp_path):
    config = ["model.initialization=kmeans", "data.horizontal_flip=true"]
    whole = train(small_config(demo_set, tmp_path / "whole", "train.epochs=2", *config))
    part = train(small_config(demo_set, tmp_path / "part", "train.epochs=1", *config))
    resumed = train(small_config(demo_set, part.output, "train.epochs=2", *config), resume=part.output)
    assert [epoch.val_loss for epoch in resumed.history] == [epoch.val_loss for epoch in whole.history]
    ours, theirs = (load_checkpoint(run.output)[0].state_dict() for run in (resumed, whole))
    for name, value in ours.items():
        np.testing.assert_array_equal(value.numpy(), theirs[name].numpy(), err_msg=name)
