"""Weights in and out without any other framework: layouts, refusals, the way to fine-tuning."""

import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, run_tool

from paddle_alexnet import PRESETS, AlexNet, Predictor, UserError
from paddle_alexnet.config import DataConfig
from paddle_alexnet.conversion import convert
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation import evaluate
from paddle_alexnet.export.jit import export
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.trainer import start_from
from paddle_alexnet.weights.files import read_arrays
from paddle_alexnet.weights.layout import Weights, choose_preset, fitting_presets, layers
from paddle_alexnet.weights.unpickle import Parameter, load_torch, tensor_of_storage

NAMES = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]


@pytest.fixture(scope="module")
def network():
    paddle.seed(3)
    return AlexNet("half", 10)


@pytest.fixture(scope="module")
def state(network):
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def pdparams(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "half.pdparams"
    paddle.save(network.state_dict(), str(path))
    return path


@pytest.fixture(scope="module")
def checkpoint(pdparams):
    convert(pdparams, pdparams.with_name("checkpoint"))
    return pdparams.with_name("checkpoint")


def assert_same_state(folder, state):
    found = load_checkpoint(folder)[0].state_dict()
    assert list(found) == list(state)
    for name, value in state.items():
        assert np.array_equal(found[name].numpy(), value), name


# The layouts


def test_round_trip_through_pytorch_s_names_is_exact(checkpoint, state, tmp_path):
    convert(checkpoint, tmp_path / "half.safetensors")
    with (tmp_path / "half.safetensors").open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    assert header["features.0.weight"]["shape"] == [48, 3, 11, 11]
    assert header["classifier.1.weight"]["shape"] == [2048, 4608]
    convert(tmp_path / "half.safetensors", tmp_path / "back")
    assert_same_state(tmp_path / "back", state)
    convert(tmp_path / "back", tmp_path / "back.pdparams")
    loaded = paddle.load(str(tmp_path / "back.pdparams"))
    assert all(np.array_equal(loaded[name].numpy(), value) for name, value in state.items())


def by_layer(state):
    return [[state[f"{layer.key}.weight"], state[f"{layer.key}.bias"]] for layer in layers("half")]


def as_tensorflow(state):
    """[k, k, in, out] and [in, out]; fc6 reads rows, columns, channels; with an optimiser's slots."""
    arrays = {"global_step": np.int64(7), "beta1_power": np.float32(0.9)}
    for name, (weight, bias) in zip([*NAMES[:5], "a1", "a2", "a3"], by_layer(state)):
        if weight.ndim == 4:
            weight = np.einsum("oihw->hwio", weight)
        elif name == "a1":
            weight = np.einsum("chwo->hwco", weight.reshape(128, 6, 6, 2048)).reshape(4608, 2048)
        arrays.update({f"{name}/weights": weight, f"{name}/biases": bias, f"{name}/biases/Momentum": bias})
    return arrays


def as_caffe(state):
    """[out, in] and blue first, four axes throughout as in the files of 2014."""
    arrays = {}
    for name, (weight, bias) in zip([*NAMES[:5], "fc6", "fc7", "fc8"], by_layer(state)):
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
    np.savez(tmp_path / "half.npz", **turned(state))
    converted = convert(tmp_path / "half.npz", tmp_path / "ours", source_format=layout)
    assert (converted.file_format, converted.preset) == (layout, "half")
    assert_same_state(tmp_path / "ours", state)


def test_caffe_s_scale_of_input_is_kept_not_folded_in(state, tmp_path):
    layers_of_caffe = {}
    for name, array in as_caffe(state).items():
        layers_of_caffe.setdefault(name[:-2], []).append(array)
    np.save(tmp_path / "half.npy", np.array(layers_of_caffe, dtype=object), allow_pickle=True)
    converted = convert(tmp_path / "half.npy", tmp_path / "ours")
    assert any("pixels 0..255" in note for note in converted.notes)
    assert_same_state(tmp_path / "ours", state)
    _, metadata = load_checkpoint(tmp_path / "ours")
    seen = metadata.preprocess.batch(np.full((1, 1, 1, 3), 200, np.uint8)).ravel()
    assert seen == pytest.approx([200 - 122.679, 200 - 116.669, 200 - 104.007], abs=1e-3)


def torch_pickle(arrays, *, legacy=False):
    """What `torch.save` pickles of a dictionary of tensors, written out by hand."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    content = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, array) in enumerate(arrays.items()):
        size = b"J" + struct.pack("<i", array.size)
        storage = text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + size
        content += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        content += storage + (b"N" if legacy else b"") + b"tQK\x00"
        content += numbers(array.shape) + numbers([step // array.itemsize for step in array.strides])
        content += b"\x89ccollections\nOrderedDict\n)RtR"
    return content + b"u."


def write_torch(path, content, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", content)
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())


def write_legacy_torch(path, content, arrays):
    with path.open("wb") as stream:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, stream, protocol=2)
        stream.write(content)
        pickle.dump([str(key) for key in range(len(arrays))], stream, protocol=2)
        for array in arrays.values():
            stream.write(struct.pack("<q", array.size) + array.tobytes())


def test_pytorch_files_are_read_without_pytorch(state, tmp_path):
    arrays = {}
    for layer, (weight, bias) in zip(layers("half"), by_layer(state)):
        arrays[f"{layer.torch_key}.weight"] = np.ascontiguousarray(weight.T if weight.ndim == 2 else weight)
        arrays[f"{layer.torch_key}.bias"] = bias
    write_torch(tmp_path / "new.pth", torch_pickle(arrays), arrays)
    write_legacy_torch(tmp_path / "old.pth", torch_pickle(arrays, legacy=True), arrays)
    for name in ("new", "old"):
        convert(tmp_path / f"{name}.pth", tmp_path / name)
        assert_same_state(tmp_path / name, state)


def test_parameters_of_the_first_pytorch(tmp_path):
    """Before 0.4 a state dict could hold parameters, which pickle themselves with a state of flags."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    tensor = torch_pickle(arrays, legacy=True).partition(b"(X\x01\x00\x00\x00a")[2][: -len(b"u.")]
    flags = b"(\x88\x89ccollections\nOrderedDict\n)Rt"
    parameter = b"ctorch.nn.parameter\nParameter\n(" + tensor + b"tR" + flags + b"b"
    content = b"\x80\x02}(X\x01\x00\x00\x00a" + parameter + b"u."
    write_legacy_torch(tmp_path / "old.pth", content, arrays)
    found = load_torch(tmp_path / "old.pth")["a"]
    assert isinstance(found, Parameter)
    assert np.array_equal(found.data, arrays["a"])


# What does not fit


def shapes_of(preset, num_classes=10):
    """A file of a preset's shapes that takes no memory."""
    zero, weights = np.float32(0), []
    for layer in layers(preset):
        shape = [num_classes if size is None else size for size in layer.shape]
        out = shape[0] if len(shape) == 4 else shape[1]
        weight, bias = np.broadcast_to(zero, shape), np.broadcast_to(zero, [out])
        weights.append(Weights(f"{layer.name}.weight", weight, bias))
    return weights


ALIKE = [{"paper", "source145", "caffe", "caffenet"}, {"fluid", "single"}, {"owt", "owt2014"}]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_classes", [7, 4096])  # as many classes as neurons makes fc7 and fc8 alike
def test_a_file_tells_its_preset(preset, num_classes):
    alike = next((group for group in ALIKE if preset in group), {preset})
    weights = shapes_of(preset, num_classes)
    assert set(fitting_presets(weights)) == alike
    assert choose_preset(weights[::-1], preset, source="file") == preset
    if len(alike) > 1:
        with pytest.raises(UserError, match=r"alike.*--preset") as raised:
            choose_preset(weights, source="file")
        assert all(name in str(raised.value) for name in alike)
    else:
        assert choose_preset(weights, source="file") == preset


def test_every_layer_that_does_not_fit_is_listed_and_the_right_preset_named(pdparams, tmp_path):
    with pytest.raises(UserError) as raised:
        convert(pdparams, tmp_path / "ours", preset="owt")
    message = str(raised.value)
    assert "\n" not in message
    assert str(pdparams) in message
    for name, found, expected in [
        ("conv1", "48×3×11×11", "64×3×11×11"),
        ("conv5", "128×192×3×3", "256×256×3×3"),
        ("fc6", "4608×2048", "9216×4096"),
        ("fc8", "2048×10", "4096×classes"),
    ]:
        assert any(name in part and f"is {found}, must be {expected}" in part for part in message.split("; "))
    assert all(name in message for name in NAMES)
    assert "it fits half" in message
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_none_of_the_presets():
    weights = shapes_of("owt")
    extra = Weights("conv6.weight", np.zeros((256, 256, 3, 3)), np.zeros(256))
    with pytest.raises(UserError, match=r"conv6.weight is 256×256×3×3, must be absent.*fits no preset"):
        choose_preset([*weights[:5], extra, *weights[5:]], source="file")
    odd = Weights("conv2.weight", weights[1].weight, np.zeros(5))
    faults = r"preset owt: conv2 \(conv2.weight\) has a bias of 5, must be 192; fc8 is missing"
    with pytest.raises(UserError, match=faults):
        choose_preset([weights[0], odd, *weights[2:7]], source="file")


def test_more_than_weights_is_refused(tmp_path):
    np.savez(tmp_path / "resnet.npz", conv=np.zeros((8, 3, 7, 7)), gamma=np.zeros(8), beta=np.zeros(8))
    with pytest.raises(UserError, match="1 weights and 2 biases"):
        convert(tmp_path / "resnet.npz", tmp_path / "ours")


# What is damaged or means harm


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def harmful_files(folder, place):
    content = pickle.dumps({"conv1.weight": Harm(place)}, protocol=2)
    write_torch(folder / "zip.pth", content, {})
    write_legacy_torch(folder / "legacy.pth", content, {})
    (folder / "paddle.pdparams").write_bytes(content)
    np.save(folder / "numpy.npy", np.array({"conv1": Harm(place)}, dtype=object), allow_pickle=True)
    np.savez(folder / "numpy.npz", conv1=np.array([Harm(place)], dtype=object))
    with (folder / "first.pth").open("wb") as stream:  # before the first thing is checked
        pickle.dump(Harm(place), stream)


HARMFUL = ["zip.pth", "legacy.pth", "paddle.pdparams", "numpy.npy", "numpy.npz", "first.pth"]


@pytest.mark.parametrize("name", HARMFUL)
def test_code_in_a_file_is_refused_not_run(name, tmp_path):
    place = tmp_path / "made by the file"
    harmful_files(tmp_path, place)
    with pytest.raises(UserError, match=r"it would run \w+\.mkdir: save the weights alone") as raised:
        convert(tmp_path / name, tmp_path / "ours")
    assert str(tmp_path / name) in str(raised.value)
    assert not place.exists()
    if name == "paddle.pdparams":
        paddle.load(str(tmp_path / name))
        assert place.exists(), "the file does harm where it is trusted"


@pytest.mark.parametrize(
    "size, stride, offset",
    [([4], [1], 6), ([2, 4], [8, 1], 0), ([2], [-8], 0), ([1 << 40], [1], 0), ([2], [1], -1)],
)
def test_tensors_beyond_their_storage_are_refused(size, stride, offset):
    with pytest.raises(ValueError):
        tensor_of_storage(np.zeros(8, np.float32), offset, size, stride)


def test_damaged_files_say_which(pdparams, tmp_path):
    whole = pdparams.read_bytes()
    contents = {
        "half.pdparams": whole[: len(whole) // 2],
        "text.pth": b"not a file of PyTorch",
        "empty.safetensors": b"",
        "page.safetensors": b"<html>not found</html>",
        "empty.npz": b"",
        "empty.npy": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            convert(tmp_path / name, tmp_path / "ours")
    with pytest.raises(UserError, match=r"none.pth: no such file"):
        convert(tmp_path / "none.pth", tmp_path / "ours")
    with pytest.raises(UserError, match=r"unknown kind of file.*\.safetensors.*--from"):
        convert(tmp_path / "alexnet.caffemodel", tmp_path / "ours")


def test_integers_are_no_weights(state, tmp_path):
    """Paddle writes bfloat16 as integers: read as numbers they would be nonsense."""
    integers = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in state.items()}
    paddle.save(integers, str(tmp_path / "bf16.pdparams"))
    assert read_arrays(tmp_path / "bf16.pdparams") == ("paddle", {})
    with pytest.raises(UserError, match="0 weights"):
        convert(tmp_path / "bf16.pdparams", tmp_path / "ours")


# Classes, and the way to fine-tuning


def test_a_new_last_layer_only_on_request_and_by_seed(pdparams, state, tmp_path):
    heads = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        converted = convert(pdparams, tmp_path / name, num_classes=4, seed=seed)
        assert converted.num_classes == 4
        assert any("fc8 is new" in note for note in converted.notes)
        network, _ = load_checkpoint(tmp_path / name)
        found = {key: value.numpy() for key, value in network.state_dict().items()}
        heads.append(found.pop("classifier.7.weight"))
        assert found.pop("classifier.7.bias").shape == (4,)
        assert all(np.array_equal(value, state[key]) for key, value in found.items())
    assert heads[0].shape == (2048, 4)
    assert np.array_equal(heads[0], heads[1])
    assert not np.array_equal(heads[0], heads[2])


def test_classes_have_to_be_as_many_as_the_network_s(pdparams, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=r"classes.txt: lists 2 classes.* has 10: --num-classes 2"):
        convert(pdparams, tmp_path / "ours", classes=tmp_path / "classes.txt")
    convert(pdparams, tmp_path / "ours", classes=tmp_path / "classes.txt", num_classes=2)
    _, metadata = load_checkpoint(tmp_path / "ours")
    assert metadata.classes.names == ("cat", "dog")
    assert "converted from" in metadata.origin.data
    assert (metadata.origin.epoch, metadata.origin.val_loss, metadata.origin.val_top1) == (0, None, None)


def test_training_starts_from_a_converted_checkpoint(checkpoint, pdparams, state, demo_set, tmp_path):
    table, network = read_table(demo_set, None), AlexNet("half", 10)
    preprocess = Preprocess(224, DataConfig().mean, DataConfig().std)
    start_from(network, table, preprocess, checkpoint)
    assert all(np.array_equal(value.numpy(), state[name]) for name, value in network.state_dict().items())

    convert(pdparams, tmp_path / "four", num_classes=4)
    with pytest.raises(UserError, match=r"has 4 classes.* has 10.*--num-classes 10"):
        start_from(network, table, preprocess, tmp_path / "four")
    (tmp_path / "classes.txt").write_text("\n".join("abcdefghij"))
    convert(pdparams, tmp_path / "named", classes=tmp_path / "classes.txt")
    with pytest.raises(UserError, match="other classes"):
        start_from(network, table, preprocess, tmp_path / "named")
    with pytest.raises(UserError, match=r"add .*-o 'data.mean=\[0.485, 0.456, 0.406\]'"):
        start_from(network, table, Preprocess(224, (0, 0, 0), (1, 1, 1)), checkpoint)


def test_a_converted_checkpoint_is_evaluated_exported_and_predicted_with(pdparams, demo_set, tmp_path):
    done = run_tool("convert_weights", pdparams, tmp_path / "ours", "--classes", demo_set / "classes.txt")
    assert done.returncode == 0, done.stderr
    assert f"tools/train.py -o model.preset=half -o model.weights={tmp_path / 'ours'}" in done.stdout
    assert 0 <= evaluate(Predictor(tmp_path / "ours"), root=demo_set).top1 <= 1
    export(*load_checkpoint(tmp_path / "ours"), tmp_path / "exported")
    picture = next((demo_set / "images").rglob("*.jpg"))
    [(_, probabilities)] = Predictor(tmp_path / "exported").predict([picture])
    assert probabilities.sum() == pytest.approx(1)


def test_what_is_there_is_never_overwritten(pdparams, tmp_path):
    before = pdparams.read_bytes()
    with pytest.raises(UserError, match="is there already"):
        convert(pdparams, pdparams)
    assert pdparams.read_bytes() == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        convert(pdparams, tmp_path)
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
        convert(Path("none.pth"), tmp_path / target)
    with pytest.raises(UserError, match="would be torch's"):
        convert(Path("none.pth"), tmp_path / "ours.pth", target_format="keras")
    with pytest.raises(UserError, match="holds no class names"):
        convert(Path("none.pth"), tmp_path / "ours.pth", classes=tmp_path / "classes.txt")


def test_a_checkpoint_knows_its_preset(checkpoint, tmp_path):
    with pytest.raises(UserError, match="is a checkpoint of half: leave --preset"):
        convert(checkpoint, tmp_path / "ours", preset="owt")


def test_a_missing_framework_is_named_with_the_remedy(pdparams, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"ours.pth: needs torch.*pip install -e \"\.\[parity\]\""):
        convert(pdparams, tmp_path / "ours.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_tool_exits_with_2_and_one_line(pdparams, tmp_path):
    result = run_tool("convert_weights", pdparams, tmp_path / "ours", "--preset", "owt")
    assert_user_error(result, str(pdparams), "conv1", "fc8", "it fits half")
    with pytest.raises(UserError, match="--num-classes is 0"):
        convert(pdparams, tmp_path / "ours", num_classes=0)
