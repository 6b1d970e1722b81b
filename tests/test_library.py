"""The public library, as a user of torchvision or timm would call it."""

import inspect

import numpy as np
import paddle
import pytest
from PIL import Image

import paddle_alexnet
from paddle_alexnet import ImageDataset, MissingFileError, Predictor, UserError

CONFIG = ["model.preset=small", "train.epochs=2", "train.batch_size=10", "device=cpu", "train.report=false"]


class Given(paddle.io.Dataset):
    """Images in every form, without attributes."""

    def __init__(self, source: ImageDataset, count: int) -> None:
        self.items = [(source[n][0], int(source.labels[n])) for n in range(count)]
        self.forms = [lambda array: array, Image.fromarray]

    def __getitem__(self, index):
        image, label = self.items[index]
        return self.forms[index % 2](image), label

    def __len__(self):
        return len(self.items)


def test_alexnet_without_arguments_is_torchvision_s():
    network = paddle_alexnet.alexnet(num_classes=10)
    assert (network.preset, network.num_classes) == ("owt", 10)
    assert "owt" in paddle_alexnet.list_presets()


def test_errors_are_builtin_errors_too(tmp_path):
    with pytest.raises(ValueError, match="did you mean"):
        paddle_alexnet.load_config("hlaf")
    for call in (
        lambda: paddle_alexnet.load(tmp_path / "gone"),
        lambda: Predictor(str(tmp_path / "gone")),
        lambda: ImageDataset(str(tmp_path / "gone")),
        lambda: paddle_alexnet.load_config(str(tmp_path / "gone.yaml")),
    ):
        with pytest.raises(FileNotFoundError) as raised:
            call()
        assert isinstance(raised.value, MissingFileError)


def test_config_is_loaded_by_name_as_text():
    assert paddle_alexnet.load_config("half").model.preset == "half"


def test_run_is_loaded_evaluated_exported_and_converted_by_text(finished_run, tmp_path):
    run = str(finished_run.output)
    network, metadata = paddle_alexnet.load(run)
    assert (network.preset, len(metadata.classes)) == (metadata.model.preset, 10)
    result = paddle_alexnet.evaluate(run, split="test", top_k=10)
    assert (result.images, result.top_k) == (10, 1.0)
    [(folder, written)] = paddle_alexnet.export(run, output=str(tmp_path / "model")).items()
    assert (folder, written.kind) == (tmp_path / "model", "inference")
    converted = paddle_alexnet.convert_weights(run, str(tmp_path / "a.pdparams"))
    assert converted.num_classes == 10


def test_preprocess_gives_the_network_s_input(finished_run, demo_set):
    network, metadata = paddle_alexnet.load(finished_run.output)
    data = ImageDataset(demo_set, "test", transform=metadata.preprocess)
    image, _ = data[0]
    assert (image.dtype, image.shape) == (np.float32, (3, 131, 131))
    logits = network(paddle.to_tensor(image[None])).numpy()
    prediction = next(Predictor(finished_run.output).predict(data.path(0), top=3))
    assert prediction.labels[0] == data.classes[int(logits.argmax())]
    assert len(prediction.labels) == len(prediction.probabilities) == 3


def test_image_dataset_without_transform_gives_the_pixels(demo_set):
    data = ImageDataset(str(demo_set), "val")
    image, label = data[0]
    np.testing.assert_array_equal(image, np.asarray(Image.open(data.path(0)).convert("RGB")))
    assert (label.dtype, data.classes[label] in str(data.path(0))) == (np.int64, True)


def test_train_on_data_sets_of_one_s_own_resumes_bit_identically(demo_set, tmp_path):
    train_set, val_set = Given(ImageDataset(demo_set, "train"), 30), Given(ImageDataset(demo_set, "val"), 10)
    sets = {"train_set": train_set, "val_set": val_set}

    def config(name: str, epochs: int):
        options = [f"output={tmp_path / name}", f"train.epochs={epochs}", "data.cache=ram", "data.normalize=channel"]
        return paddle_alexnet.load_config("demo", [*CONFIG, *options])

    whole = paddle_alexnet.train(config("whole", 2), **sets)
    paddle_alexnet.train(config("part", 1), **sets)
    resumed = paddle_alexnet.train(config("part", 2), resume=tmp_path / "part", **sets)
    assert [epoch.val_loss for epoch in resumed.history] == [epoch.val_loss for epoch in whole.history]
    with pytest.raises(UserError, match="data set is not known"):
        paddle_alexnet.evaluate(whole.output)
    train_set.items[0] = (255 - train_set.items[0][0], train_set.items[0][1])
    with pytest.raises(UserError, match="other images"):
        paddle_alexnet.train(config("part", 3), resume=tmp_path / "part", **sets)


def test_train_with_unusable_data_sets_raises(demo_set, tmp_path):
    config = paddle_alexnet.load_config("demo", [*CONFIG, f"output={tmp_path / 'run'}"])
    data = ImageDataset(demo_set, "train")
    with pytest.raises(UserError, match="give both sets"):
        paddle_alexnet.train(config, train_set=data)
    given = paddle_alexnet.load_config("demo", [*CONFIG, f"data.root={demo_set}"])
    with pytest.raises(UserError, match=r"data\.root"):
        paddle_alexnet.train(given, train_set=data, val_set=data)
    data.labels = ["cat"] * len(data)
    with pytest.raises(UserError, match="must be whole numbers"):
        paddle_alexnet.train(config, train_set=data, val_set=data)


def test_public_functions_have_at_most_seven_parameters():
    functions = [getattr(paddle_alexnet, name) for name in paddle_alexnet.__all__]
    functions = [value for value in functions if inspect.isfunction(value)]
    functions += [Predictor.__init__, Predictor.predict, ImageDataset.__init__, paddle_alexnet.AlexNet.__init__]
    for function in functions:
        assert len(set(inspect.signature(function).parameters) - {"self"}) <= 7, function.__qualname__
