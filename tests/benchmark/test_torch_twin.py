"""The same network in PyTorch."""

import importlib.util

import numpy as np
import paddle
import pytest
from rounding import LOGITS

from paddle_alexnet import PRESETS, AlexNet, load_config
from paddle_alexnet.benchmark.network_passes import benchmark_network
from paddle_alexnet.benchmark.torch_twin import torch_twin

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_network_in_pytorch_is_the_same(preset):
    import torch

    network = AlexNet(preset, 10)
    network.eval()
    image = 50 * np.random.default_rng(0).standard_normal((2, 3, network.image_size, network.image_size), np.float32)
    with paddle.no_grad(), torch.no_grad():
        ours = network(paddle.to_tensor(image)).numpy()
        theirs = torch_twin(network).eval()(torch.from_numpy(image)).numpy()
    assert np.abs(ours - theirs).max() < LOGITS * np.abs(ours).max()


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_pytorch_takes_turns_with_paddle(tiny, optimizer):
    config = load_config(None, ["device=cpu", f"optimizer.name={optimizer}"])
    report = benchmark_network("tiny", against="torch", config=config, batch_size=2, burn_in=1, steps=2)
    assert [result["runner"] for result in report["results"]][1::2] == ["torch"] * 3
    assert [ratio["time_of"] for ratio in report["ratios"]] == ["torch"] * 3
