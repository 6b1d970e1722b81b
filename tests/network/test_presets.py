"""The table of networks, walked stage by stage."""

import pytest

from paddle_alexnet import PRESETS
from paddle_alexnet.network.presets import Conv, Linear, walk


def names(preset, **options):
    return [stage.name for stage in walk(PRESETS[preset], **options)]


def test_names_count_the_convolution_and_linear_layers_as_caffe_does():
    # The layers of BVLC's deploy.prototxt, which calls the LRN norm1 and norm2 and has no Flatten.
    caffe = "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    caffe += "fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    ours = [name.replace("lrn", "norm").replace("dropout", "drop") for name in names("caffe") if name != "flatten5"]
    assert ours == caffe.split()


def test_stages_that_have_another_place():
    assert names("source145")[:9] == "conv1 lrn1 pool1 relu1 conv2 relu2 lrn2 spatial_norm2 pool2".split()
    assert names("half")[-8:] == "flatten5 dropout5 fc6 relu6 dropout6 fc7 relu7 fc8".split()
    assert names("caffenet", lrn=False) == names("fluid")[:14] + "fc6 relu6 dropout6 fc7 relu7 dropout7 fc8".split()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_eight_learned_layers_and_names_each_stage_once(preset):
    stages = walk(PRESETS[preset])
    learned = [stage.name for stage in stages if isinstance(stage.stage, (Conv, Linear))]
    assert learned == "conv1 conv2 conv3 conv4 conv5 fc6 fc7 fc8".split()
    assert len({stage.name for stage in stages}) == len({stage[1:3] for stage in stages}) == len(stages)
