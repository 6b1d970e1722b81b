"""Weights in and out without any other framework: layouts, refusals, the way to fine-tuning."""

import json
import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, run_tool
from hostile import Call
from rounding import FEW

from paddle_alexnet import AlexNet, Predictor, UserError, load_config
from paddle_alexnet.config.schema import DataConfig
from paddle_alexnet.conversion import ConversionOptions, convert_weights
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation.evaluate import evaluate
from paddle_alexnet.exporting.exporter import export_network
from paddle_alexnet.runs.checkpoint import load_checkpoint, load_weights
from paddle_alexnet.training.initial_weights import choose_initial_weights
from paddle_alexnet.weights.layout import layers

pytestmark = pytest.mark.usefixtures("tiny_preset")  # a preset `tiny`


def layer_names():
    return [layer.name for layer in layers("tiny")]


@pytest.fixture(scope="module")
def network(tiny_preset):
    paddle.seed(3)
    return AlexNet("tiny", 10)


@pytest.fixture(scope="module")
def state(network):
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def pdparams(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pdparams"
    paddle.save(network.state_dict(), str(path))
    return path


@pytest.fixture(scope="module")
def checkpoint(pdparams):
    convert_weights(pdparams, pdparams.with_name("checkpoint"))
    return pdparams.with_name("checkpoint")


def assert_same_state(folder, state):
    found = load_checkpoint(folder)[0].state_dict()
    assert list(found) == list(state)
    for name, value in state.items():
        assert np.array_equal(found[name].numpy(), value), name


# The layouts


def test_round_trip_through_pytorch_s_names_is_exact(checkpoint, state, tmp_path):
    convert_weights(checkpoint, tmp_path / "tiny.safetensors")
    with (tmp_path / "tiny.safetensors").open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    assert header["features.0.weight"]["shape"] == [8, 3, 11, 11]
    assert header["classifier.1.weight"]["shape"] == [64, 96]
    convert_weights(tmp_path / "tiny.safetensors", tmp_path / "back")
    assert_same_state(tmp_path / "back", state)
    convert_weights(tmp_path / "back", tmp_path / "back.pdparams")
    loaded = paddle.load(str(tmp_path / "back.pdparams"))
    assert all(np.array_equal(loaded[name].numpy(), value) for name, value in state.items())


CONVS = ["conv1", "conv2", "conv3", "conv4", "conv5"]


def by_layer(state):
    return [[state[f"{layer.key}.weight"], state[f"{layer.key}.bias"]] for layer in layers("tiny")]


def as_tensorflow(state):
    """[k, k, in, out] and [in, out]; fc1 reads rows, columns, channels; with an optimizer's slots."""
    arrays = {"global_step": np.int64(7), "beta1_power": np.float32(0.9)}
    for name, (weight, bias) in zip([*CONVS, "a1", "a2", "a3"], by_layer(state)):
        if weight.ndim == 4:
            weight = np.einsum("oihw->hwio", weight)
        elif name == "a1":
            weight = np.einsum("chwo->hwco", weight.reshape(24, 2, 2, 64)).reshape(96, 64)
        arrays.update({f"{name}/weights": weight, f"{name}/biases": bias, f"{name}/biases/Momentum": bias})
    return arrays


def as_caffe(state):
    """[out, in] and blue first, four axes throughout as in the files of 2014."""
    arrays = {}
    for name, (weight, bias) in zip([*CONVS, "fc6", "fc7", "fc8"], by_layer(state)):
        if name == "conv1":
            weight = weight[:, [2, 1, 0]]
        elif weight.ndim == 2:
            weight = weight.T[None, None]
        arrays.update({f"{name}_w": weight, f"{name}_b": bias[None, None, None]})
    return arrays


def as_paddleclas(state):
    arrays = {}
    for i, (weight, bias) in enumerate(by_layer(state), start=1):
        name = f"_fc{i}" if i > 5 else f"_conv{i}" if i in (3, 4) else f"_conv{i}._conv"
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = weight * (2 if i in (6, 7) else 1), bias
    return arrays


@pytest.mark.parametrize(
    "layout, turned", [("tensorflow", as_tensorflow), ("caffe", as_caffe), ("paddleclas", as_paddleclas)]
)
def test_layouts_of_other_frameworks(layout, turned, state, tmp_path):
    np.savez(tmp_path / "tiny.npz", **turned(state))
    converted = convert_weights(
        tmp_path / "tiny.npz", tmp_path / "ours", options=ConversionOptions(source_format=layout)
    )
    assert (converted.file_format, converted.preset) == (layout, "tiny")
    assert_same_state(tmp_path / "ours", state)


def test_caffe_s_scale_of_input_is_kept_not_folded_in(state, tmp_path):
    layers_of_caffe = {}
    for name, array in as_caffe(state).items():
        layers_of_caffe.setdefault(name[:-2], []).append(array)
    np.save(tmp_path / "tiny.npy", np.array(layers_of_caffe, dtype=object), allow_pickle=True)
    converted = convert_weights(tmp_path / "tiny.npy", tmp_path / "ours")
    assert any("pixels 0..255" in note for note in converted.notes)
    assert_same_state(tmp_path / "ours", state)
    _, metadata = load_checkpoint(tmp_path / "ours")
    seen = metadata.preprocess.batch(np.full((1, 1, 1, 3), 200, np.uint8)).ravel()
    assert seen == pytest.approx([200 - 122.679, 200 - 116.669, 200 - 104.007], abs=255 * FEW)


# What does not fit


def test_every_layer_that_does_not_fit_is_listed_and_the_right_preset_named(pdparams, tmp_path):
    with pytest.raises(UserError) as raised:
        convert_weights(pdparams, tmp_path / "ours", preset="owt")
    message = str(raised.value)
    assert "\n" not in message
    assert str(pdparams) in message
    for index, found, expected in [
        (0, "8×3×11×11", "64×3×11×11"),
        (4, "24×20×3×3", "256×256×3×3"),
        (5, "96×64", "9216×4096"),
        (7, "48×10", "4096×classes"),
    ]:
        name = layer_names()[index]
        assert any(name in part and f"is {found}, must be {expected}" in part for part in message.split("; "))
    assert all(name in message for name in layer_names())
    assert "choose tiny as preset" in message
    assert list(tmp_path.iterdir()) == []


def test_convert_of_a_file_without_alexnet_weights_raises(tmp_path):
    np.savez(tmp_path / "resnet.npz", conv=np.zeros((8, 3, 7, 7)), gamma=np.zeros(8), beta=np.zeros(8))
    with pytest.raises(UserError, match="1 weights and 2 biases"):
        convert_weights(tmp_path / "resnet.npz", tmp_path / "ours")


# What is damaged or means harm


@pytest.mark.parametrize("name", ["paddle.pdparams", "numpy.npy", "numpy.npz", "torch.pth"])
def test_code_in_a_file_is_left_alone(name, state, tmp_path):
    place = tmp_path / "made by the file"
    harm = Call(os.mkdir, (str(place),))
    for content in ({"conv1.weight": harm}, {**state, "weights": harm}):
        if name == "numpy.npz":
            np.savez(tmp_path / name, **{key: np.array([value, None], dtype=object) for key, value in content.items()})
        elif name == "numpy.npy":
            np.save(tmp_path / name, np.array(content, dtype=object), allow_pickle=True)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(content))
        if name == "paddle.pdparams" and content.keys() > state.keys():
            converted = convert_weights(tmp_path / name, tmp_path / "ours")
            assert f"left unread: {os.mkdir.__module__}.mkdir" in converted.notes
            assert_same_state(tmp_path / "ours", state)
        else:
            with pytest.raises(UserError, match=name):
                convert_weights(tmp_path / name, tmp_path / "ours", preset="owt")
        assert not place.exists()
    with pytest.raises(UserError, match=r"no floating-point weights.*left unread: \w+\.mkdir"):
        (tmp_path / "harm.pdparams").write_bytes(pickle.dumps({"conv1.weight": harm}))
        convert_weights(tmp_path / "harm.pdparams", tmp_path / "theirs")
    paddle.load(str(tmp_path / "harm.pdparams"))
    assert place.exists(), "the file does harm where it is trusted"


def test_damaged_files_say_which(pdparams, tmp_path):
    whole = pdparams.read_bytes()
    contents = {
        "tiny.pdparams": whole[: len(whole) // 2],
        "text.pth": b"not a file of PyTorch",
        "empty.safetensors": b"",
        "page.safetensors": b"<html>not found</html>",
        "empty.npz": b"",
        "empty.npy": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            convert_weights(tmp_path / name, tmp_path / "ours")
    with pytest.raises(UserError, match=r"none.pth: file not found"):
        convert_weights(tmp_path / "none.pth", tmp_path / "ours")
    (tmp_path / "alexnet.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    with pytest.raises(UserError, match=r"unknown kind of file.*\.safetensors.*--from: .*torch"):
        convert_weights(tmp_path / "alexnet.tflite", tmp_path / "ours")


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_finite_float32_are_refused_by_layer(number, state, tmp_path):
    weight = state["features.3.weight"].astype(np.float64)
    weight[1, 2, 3, 4] = number
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({**state, "features.3.weight": weight}))
    with pytest.raises(UserError, match=r"a.pdparams: has NaN or infinity.*: conv2 has 1 of 2400 in its weight"):
        convert_weights(tmp_path / "a.pdparams", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_bfloat16_of_paddle_is_read(state, tmp_path):
    """Paddle writes it as integers: the upper halves of float32."""
    upper = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in state.items()}
    paddle.save(upper, str(tmp_path / "bf16.pdparams"))
    convert_weights(tmp_path / "bf16.pdparams", tmp_path / "ours")
    rounded = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in state.items()}
    assert_same_state(tmp_path / "ours", rounded)


def test_a_double_bias_in_a_file_is_rounded_and_in_a_checkpoint_named(state, tmp_path):
    wide = {**state, "features.0.bias": state["features.0.bias"].astype(np.float64)}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(wide))
    convert_weights(tmp_path / "a.pdparams", tmp_path / "ours")
    assert_same_state(tmp_path / "ours", state)
    with pytest.raises(UserError, match=r"do not match the network: features.0.bias is float64, must be float32"):
        load_weights(AlexNet("tiny", 10), wide, source="file")


# What goes with weights: their input, quirks, one set of several


def test_paddleclas_in_a_wrapper_is_halved_too(state, tmp_path):
    theirs = {f"backbone.{name}": array for name, array in as_paddleclas(state).items()}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"state_dict": theirs}))
    converted = convert_weights(tmp_path / "a.pdparams", tmp_path / "ours")
    assert any("are halved" in note for note in converted.notes)
    assert_same_state(tmp_path / "ours", state)


OPENCV = {"resample": "opencv", "orientation": "exif"}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    "layout, turned, expected",
    [
        ("paddleclas", as_paddleclas, {"geometry": "paddleclas", "resize": 256, **OPENCV, **IMAGENET}),
        ("caffe", as_caffe, {"resize": 256, **OPENCV, "orientation": "stored", "std": (1 / 255,) * 3}),
        ("tensorflow", as_tensorflow, {"resize": None, "resample": "bilinear", "orientation": "exif", **IMAGENET}),
    ],
)
def test_converted_weights_carry_what_their_input_goes_through(layout, turned, expected, state, tmp_path):
    np.savez(tmp_path / "tiny.npz", **turned(state))
    notes = convert_weights(
        tmp_path / "tiny.npz", tmp_path / "ours", options=ConversionOptions(source_format=layout)
    ).notes
    preprocess, geometry = load_checkpoint(tmp_path / "ours")[1].preprocess, expected.get("geometry", "squash")
    assert {name: getattr(preprocess, name) for name in expected} == expected
    assert (preprocess.image_size, preprocess.geometry, preprocess.draft) == (99, geometry, False)
    [note] = [note for note in notes if note.startswith("input as")]
    assert ("the whole image" if geometry == "squash" else "the central square in paddleclas's whole pixels") in note
    assert "256×256" in note if expected["resize"] else "the file does not tell" in note


def test_torchvision_s_input_is_assumed_of_files_of_pytorch_and_the_next_command_says_so(checkpoint, tmp_path):
    convert_weights(checkpoint, tmp_path / "tiny.safetensors")
    done = run_tool("convert_weights", tmp_path / "tiny.safetensors", tmp_path / "ours")
    assert done.returncode == 0, done.stderr
    assert "-o data.geometry=torchvision -o data.resize=256 -o data.orientation=stored\n" in done.stdout
    theirs = {"geometry": "torchvision", "resize": 256, "orientation": "stored", "draft": False}
    assert load_checkpoint(tmp_path / "ours")[1].preprocess == Preprocess(99, *IMAGENET.values(), **theirs)
    changed = "--resize 110 --geometry squash --orientation exif --mean 0.5,0.5,0.5 --std 0.25,0.5,1".split()
    done = run_tool("convert_weights", tmp_path / "tiny.safetensors", tmp_path / "mine", *changed)
    assert done.returncode == 0, done.stderr
    assert "-o 'data.mean=[0.5, 0.5, 0.5]' -o 'data.std=[0.25, 0.5, 1.0]'" in done.stdout
    given = load_checkpoint(tmp_path / "mine")[1].preprocess
    expected = {"geometry": "squash", "resize": 110, "orientation": "exif", "draft": False}
    assert given == Preprocess(99, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0), **expected)
    for wrong in (
        ["--mean", "123,117,104"],
        ["--mean", "0.5"],
        ["--std", "0,1,1"],
        ["--resize", "0"],
        ["--mean", "nan,0,0"],
    ):
        assert run_tool("convert_weights", tmp_path / "tiny.safetensors", tmp_path / "no", *wrong).returncode == 2


def test_evaluate_and_predict_take_the_same_options(checkpoint, demo_set, tmp_path):
    (tmp_path / "classes.txt").write_text((demo_set / "classes.txt").read_text())
    convert_weights(checkpoint, tmp_path / "ours", classes=tmp_path / "classes.txt")
    picture, change = next((demo_set / "images").rglob("*.jpg")), ["--geometry", "crop", "--resize", "120"]
    for verb, what in (("evaluate", ["--root", demo_set]), ("predict", [picture])):
        plain = run_tool(verb, tmp_path / "ours", *what)
        assert plain.returncode == 0, plain.stderr
        assert run_tool(verb, tmp_path / "ours", *what, *change).stdout != plain.stdout
        assert_user_error(
            run_tool(verb, tmp_path / "ours", *what, "--resize", "50"), "--resize 50", "choose 99 or more"
        )


def test_quirks_are_kept_or_given(pdparams, tmp_path):
    assert convert_weights(pdparams, tmp_path / "plain").quirks == ()
    assert convert_weights(pdparams, tmp_path / "quirky", options=ConversionOptions(quirks=["dead_fc2"])).quirks == (
        "dead_fc2",
    )
    assert convert_weights(tmp_path / "quirky", tmp_path / "again").quirks == ("dead_fc2",)
    assert load_checkpoint(tmp_path / "again")[1].model.quirks == ("dead_fc2",)
    to_file = convert_weights(tmp_path / "quirky", tmp_path / "a.pdparams")
    assert "the file does not store the preprocessing and quirks dead_fc2" in to_file.notes
    assert convert_weights(tmp_path / "again", tmp_path / "mended", options=ConversionOptions(quirks=[])).quirks == ()
    with pytest.raises(UserError, match="no quirk 'lrn_exclusive'"):
        convert_weights(pdparams, tmp_path / "no", options=ConversionOptions(quirks=["lrn_exclusive"]))


def test_convert_of_a_file_with_several_sets_asks_for_a_key(state, tmp_path):
    average = {name: value + 1 for name, value in state.items()}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"state_dict": state, "state_dict_ema": average}))
    refused = run_tool("convert_weights", tmp_path / "a.pdparams", tmp_path / "ours")
    assert_user_error(refused, "choose one as key: state_dict, state_dict_ema")
    done = run_tool("convert_weights", tmp_path / "a.pdparams", tmp_path / "ours", "--key", "state_dict_ema")
    assert done.returncode == 0, done.stderr
    assert_same_state(tmp_path / "ours", average)


# Classes, and the way to fine-tuning


def test_a_new_last_layer_only_on_request_and_by_seed(pdparams, state, tmp_path):
    heads = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        converted = convert_weights(pdparams, tmp_path / name, num_classes=4, options=ConversionOptions(seed=seed))
        assert converted.num_classes == 4
        assert any(f"{layer_names()[-1]} is a new layer" in note for note in converted.notes)
        network, _ = load_checkpoint(tmp_path / name)
        found = {key: value.numpy() for key, value in network.state_dict().items()}
        heads.append(found.pop("classifier.7.weight"))
        assert found.pop("classifier.7.bias").shape == (4,)
        assert all(np.array_equal(value, state[key]) for key, value in found.items())
    assert heads[0].shape == (48, 4)
    assert np.array_equal(heads[0], heads[1])
    assert not np.array_equal(heads[0], heads[2])


def test_classes_have_to_be_as_many_as_the_network_s(pdparams, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=r"classes.txt: has 2 classes.* 10; convert with num_classes=2"):
        convert_weights(pdparams, tmp_path / "ours", classes=tmp_path / "classes.txt")
    convert_weights(pdparams, tmp_path / "ours", classes=tmp_path / "classes.txt", num_classes=2)
    _, metadata = load_checkpoint(tmp_path / "ours")
    assert metadata.classes.names == ("cat", "dog")
    assert "converted from" in metadata.origin.data
    assert (metadata.origin.epoch, metadata.origin.val_loss, metadata.origin.val_top1) == (0, None, None)


def start_from(weights, network, table, preprocess):
    """Set a network's weights as a run with `model.weights` does; its images go through `preprocess`."""
    config = load_config(None, ["model.preset=tiny", f"model.weights={weights}"])
    choose_initial_weights(config, table).set(network, SimpleNamespace(preprocess=preprocess))


def test_training_starts_from_a_converted_checkpoint(checkpoint, pdparams, state, demo_set, tmp_path):
    table, network = read_table(demo_set, None), AlexNet("tiny", 10)
    preprocess = Preprocess(99, DataConfig().mean, DataConfig().std)
    start_from(checkpoint, network, table, preprocess)
    assert all(np.array_equal(value.numpy(), state[name]) for name, value in network.state_dict().items())

    with pytest.raises(UserError, match=r"data.mean=\[0.485, 0.456, 0.406\]"):
        start_from(checkpoint, network, table, Preprocess(99, (0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("other", ["four", "named"])
def test_a_last_layer_of_other_classes_is_drawn_new(pdparams, state, demo_set, tmp_path, other, caplog):
    (tmp_path / "classes.txt").write_text("\n".join("abcdefghij"))
    convert_weights(pdparams, tmp_path / "four", num_classes=4)
    convert_weights(pdparams, tmp_path / "named", classes=tmp_path / "classes.txt")
    network, preprocess = AlexNet("tiny", 10), Preprocess(99, DataConfig().mean, DataConfig().std)
    drawn = {name: value.numpy() for name, value in network.state_dict().items()}
    last = {"classifier.7.weight", "classifier.7.bias"}
    with caplog.at_level("INFO"):
        start_from(tmp_path / other, network, read_table(demo_set, None), preprocess)
    for name, value in network.state_dict().items():
        assert np.array_equal(value.numpy(), (drawn if name in last else state)[name]), name
    count = 4 if other == "four" else 10
    assert f"fc8 is initialized anew for 10 classes: {tmp_path / other} has {count} other classes" in caplog.text


def test_a_converted_checkpoint_is_evaluated_exported_and_predicted_with(pdparams, demo_set, tmp_path):
    done = run_tool("convert_weights", pdparams, tmp_path / "ours", "--classes", demo_set / "classes.txt")
    assert done.returncode == 0, done.stderr
    assert f" train FOLDER -o model.preset=tiny -o model.weights={tmp_path / 'ours'}" in done.stdout
    assert 0 <= evaluate(Predictor(tmp_path / "ours"), root=demo_set).top1 <= 1
    export_network(*load_checkpoint(tmp_path / "ours"), tmp_path / "exported")
    picture = next((demo_set / "images").rglob("*.jpg"))
    probabilities = next(Predictor(tmp_path / "exported").predict([picture])).distribution
    assert probabilities.sum() == pytest.approx(1)


def test_convert_to_an_existing_path_raises(pdparams, tmp_path):
    before = pdparams.read_bytes()
    with pytest.raises(UserError, match="already exists"):
        convert_weights(pdparams, pdparams)
    assert pdparams.read_bytes() == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        convert_weights(pdparams, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "target, message",
    [
        ("ours.onnx", r"not one of \.pth"),
        ("ours.weights.h5", r"name it \.h5"),
    ],
)
def test_targets_are_checked_before_anything_is_read(target, message, tmp_path):
    with pytest.raises(UserError, match=message):
        convert_weights(Path("none.pth"), tmp_path / target)
    with pytest.raises(UserError, match="suffix is torch's"):
        convert_weights(Path("none.pth"), tmp_path / "ours.pth", options=ConversionOptions(target_format="keras"))
    with pytest.raises(UserError, match="cannot store class names"):
        convert_weights(Path("none.pth"), tmp_path / "ours.pth", classes=tmp_path / "classes.txt")


@pytest.mark.parametrize("name", ["a" * 300 + ".pth", "none.pth", "no\nline.pth"])
def test_names_of_no_file_end_in_a_line(name, pdparams, tmp_path):
    assert_user_error(run_tool("convert_weights", tmp_path / name, tmp_path / "ours"), "not found")
    with pytest.raises(UserError, match=r"file not found|is damaged or not a weight file"):
        convert_weights(tmp_path / name, tmp_path / "ours")
    if len(name) > 255:
        with pytest.raises(UserError, match="is unreadable"):
            convert_weights(pdparams, tmp_path / name[:-4])


def test_a_checkpoint_knows_its_preset(checkpoint, tmp_path):
    with pytest.raises(UserError, match="is a checkpoint of tiny; omit preset"):
        convert_weights(checkpoint, tmp_path / "ours", preset="owt")


def test_the_tool_exits_with_2_and_one_line(pdparams, tmp_path):
    result = run_tool("convert_weights", pdparams, tmp_path / "ours", "--preset", "owt")
    assert_user_error(result, str(pdparams), "conv1", layer_names()[-1], "choose tiny as preset")
    with pytest.raises(UserError, match="num_classes: 0 is less than 1"):
        convert_weights(pdparams, tmp_path / "ours", num_classes=0)
