"""The exported program against the live network."""

import numpy as np
import paddle
import pytest

from paddle_alexnet import AlexNet
from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.export.jit import export
from paddle_alexnet.inference.paddle_inference import InferenceModel
from paddle_alexnet.runs.metadata import Metadata, Origin


@pytest.mark.parametrize("lrn", ["native", "avgpool3d"])
def test_dropout_that_scales_in_evaluation_is_exported_with_its_scale(lrn, tmp_path):
    paddle.seed(0)
    network = AlexNet("source145", 10, lrn)
    preprocess = Preprocess(224, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))
    metadata = Metadata(network.spec, ClassList.unnamed(10), preprocess, Origin("none", paddle=paddle.__version__))
    assert export(network, metadata, tmp_path / "model") <= 1e-5
    image = 50 * np.random.default_rng(1).standard_normal((2, 3, 224, 224), dtype=np.float32)
    exported = InferenceModel(tmp_path / "model")(image)

    network.eval()
    with paddle.no_grad():
        live = network(paddle.to_tensor(image)).numpy()
        for _, layer in network.named_layers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0  # no scale either
        unscaled = network(paddle.to_tensor(image)).numpy()
    assert np.abs(exported - live).max() <= 1e-5 * np.abs(live).max()
    assert np.abs(unscaled - live).max() > 0.5 * np.abs(live).max()
