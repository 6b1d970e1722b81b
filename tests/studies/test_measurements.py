"""What is measured, on recipes and on parts that are changed under it."""

import paddle
import pytest
from helpers import REPOSITORY

from paddle_alexnet import AlexNet, Config, load_config
from paddle_alexnet.network.lrn import LRN
from paddle_alexnet.studies.measurements import data_facts, network_facts, optimizer_facts


def recipe(name: str, *overrides: str) -> Config:
    return load_config(REPOSITORY / "configs" / f"{name}.yaml", overrides)


def optimizer(*overrides: str) -> dict[str, str]:
    return optimizer_facts(AlexNet("small", 10), recipe("caffe", *overrides))


def test_measured_lrn_constants_are_those_that_the_layer_computes_with(narrow_presets):
    network = AlexNet("source145", 10, "native")
    for _, layer in network.named_layers():
        if isinstance(layer, LRN) and not layer.within_channel:
            layer.k, layer.beta = 1.5, 0.5  # the matrix of `band`, which large values go to, holds a alone
    facts = network_facts(network)
    assert (facts["LRN k"], facts["LRN β"], facts["LRN n"]) == ("1.5", "0.5", "5")
    assert facts["LRN across columns"] == "2 columns apart"
    assert facts["spatial norm"] == "5×5, scale 0.001, k 1"


@pytest.mark.parametrize("lrn", ["native", "band", "avgpool3d", "builtin"])
def test_norms_are_measured_alike_on_every_backend(lrn, narrow_presets):
    names = ("n", "factor of the sum of squares (α or α/n)", "β", "k", "across columns")
    facts = network_facts(AlexNet("tensorflow", 10, lrn))  # depth_radius 5, 0.001 / 9 of the plain sum
    assert [facts[f"LRN {name}"] for name in names] == ["11", "0.000111", "0.75", "1", "across"]


def test_measured_layers_are_those_that_an_image_passes(narrow_presets):
    facts = network_facts(AlexNet("fluid", 10, quirks=["dead_fc2"]))
    assert facts["layers left out of the pass"] == "fc7, relu7"
    assert facts["order in layers 6 … 8"] == "fc, relu; fc"
    assert facts["dropout"] == facts["dropout scales by"] == facts["LRN n"] == "none"


def test_dropout_is_run(narrow_presets):
    network = AlexNet("source145", 10, "none")
    for _, layer in network.named_layers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p, layer.mode = 0.2, "upscale_in_train"
    facts = network_facts(network)
    assert (facts["dropout"], facts["dropout scales by"]) == ("0.2, 0.2", "1.25 in training, 1 at test")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), {"update rule": "momentum", "momentum": "0.9", "learning rate enters": "inside the velocity"}),
        (("optimizer.name=momentum",), {"momentum": "0.9", "learning rate enters": "outside the velocity"}),
        (("optimizer.name=sgd",), {"update rule": "gradient descent", "momentum": "0"}),
        (("optimizer.name=adam",), {"update rule": "adaptive", "momentum": "none", "weight decay": "0.0005"}),
        (("optimizer.name=adamw",), {"update rule": "adaptive", "weight decay": "0.0005, apart from the gradient"}),
        (("optimizer.momentum=0.5",), {"momentum": "0.5", "learning rate enters": "inside the velocity"}),
        (("optimizer.weight_decay=1e-5",), {"weight decay": "1e-05", "weight decay of biases": "0"}),
        (("optimizer.decay_biases=true",), {"weight decay": "0.0005", "weight decay of biases": "0.0005"}),
        (("optimizer.weight_decay=0",), {"weight decay": "0", "weight decay of biases": "0"}),
        (("optimizer.bias_learning_rate=3",), {"learning rate": "0.01", "bias learning rate at the start": "0.03"}),
    ],
)
def test_the_optimizer_is_known_by_its_updates(overrides, expected):
    facts = optimizer("train.epochs=2", *overrides)
    assert {name: facts[name] for name in expected} == expected


def test_measured_learning_rates_are_those_of_the_updates():
    plateau = ("schedule.name=plateau", "schedule.factor=0.5", "schedule.milestones=[]")
    assert optimizer(*plateau)["learning-rate schedule"] == "×0.5 on plateau"
    assert optimizer("schedule.name=constant", "schedule.milestones=[]")["learning-rate schedule"] == "constant"
    facts = optimizer("schedule.milestones=[2,5]", "train.epochs=6")
    assert facts["learning-rate schedule"] == "×0.1 after epochs 2, 5"
    assert facts["bias learning rate later"] == "as the weights'"

    facts = optimizer(
        "schedule.milestones=[2,5]",
        "train.epochs=7",
        "optimizer.groups=[{parameters: conv1.weight, milestones: [3, 5], rates: [1e-4, 1e-5]}, {parameters: '*.bias', "
        "learning_rate: 0.02, follows_schedule: false}, {parameters: conv1.bias, milestones: [5], rates: [0]}]",
    )
    assert facts["conv1's own schedule"] == "0.0001 after epoch 3, 1e-05 after epoch 5"
    assert facts["bias learning rate later"] == "unchanged, conv1's 0"


def data(*overrides: str, size: int = 112) -> dict[str, str]:
    """Of images of half the recipe's size, which take a quarter of the time."""
    return data_facts(recipe("source145", "train.batch_size=100", f"data.resize={size * 8 // 7}", *overrides), size)


def test_images_are_measured():
    facts = data("data.geometry=squash", "data.horizontal_flip=false", "data.pca_scale=eigenvalues", "data.resize=115")
    assert facts["batch size"] == "100"
    assert facts["geometry"] == "squashed to 115×115"
    assert facts["training crops"] == "random 112×112"
    assert facts["horizontal flips"] == "none"
    assert facts["color noise"] == "PCA, 0.1 of the eigenvalues"
    facts = data("data.normalize=given", "data.pca_noise=0.3", "data.resize=112")
    assert facts["mean subtracted"] == "per color 123.7, 116.3, 103.5"
    assert facts["training crops"] == facts["mean image under a crop"] == "none"
    assert facts["horizontal flips"] == "random"
    assert facts["color noise"] == "PCA, 0.3 of the standard deviations"
    assert data("data.geometry=random_resized_crop", "data.pca_noise=0")["geometry"] == "a random part"


def test_pixels_of_one_weird_trick_are_as_large_as_in_cuda_convnet2():
    """Its convdata.py divides by 1 plus the coefficient of the noise, as the code of 2012 does."""
    facts = data_facts(recipe("owt2014", "train.batch_size=100", "data.resize=128"), 112)
    assert facts["images divided after the noise"] == "by 1.1"


def test_measurements_find_the_behavior_of_the_code_of_2012():
    facts = data("train.epochs=68", size=224)  # a pixel of it is seen to the half, as 32 equal crops need
    assert facts["images divided after the noise"] == "by 1.1"
    assert facts["color noise"] == "PCA, 0.1 of the standard deviations"
    assert facts["color noise at the end"] == "off"
    assert facts["images in a row that share crop and flip"] == "32"
    facts = data("data.pca_divisor=1", "data.pca_epochs=0", "data.shared_crops=1", "train.epochs=68")
    assert facts["images divided after the noise"] == "no"
    assert facts["color noise at the end"] == "as before"
    assert facts["images in a row that share crop and flip"] == "1"
