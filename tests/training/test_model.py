"""An update of several batches is that of one as large; mixed precision is refused where it would do nothing."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from helpers import OneLayer, assert_user_error, run_tool
from paddle import nn
from rounding import FEW

from paddle_alexnet import AlexNet, UserError, load_config
from paddle_alexnet.training.model import TrainingModel, in_full_precision
from paddle_alexnet.training.setup import check_amp, set_cudnn_search


class Batches:
    """A loader of `images` numbers in batches, which goes on from batch `first`."""

    def __init__(self, images: int, batch_size: int, first: int = 0) -> None:
        self.dataset, self.batch_size, self.first, self.position = range(images), batch_size, first, 0

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        first, self.first = self.first, 0
        for step in range(first, len(self)):
            numbers = np.array(self.dataset[step * self.batch_size : (step + 1) * self.batch_size], np.float32)
            self.position = step + 1
            yield paddle.to_tensor(numbers[:, None]), paddle.to_tensor(numbers[:, None] ** 2)


def trained(loader: Batches, *, accumulate: int = 1, epochs: int = 1) -> tuple[list[float], list[bool]]:
    """The weight after each update, and after which batches there was one."""
    network, updated, weights = OneLayer(weight=0, bias=0), [], []

    class Watch(paddle.callbacks.Callback):
        def on_train_batch_end(self, step, logs):
            updated.append(self.model.updated)
            if self.model.updated:
                weights.append(network.weight.item())

    image, label = (paddle.static.InputSpec([None, 1], "float32", name) for name in ("image", "label"))
    model = TrainingModel(network, loader=loader, schedule=None, accumulate=accumulate, inputs=image, labels=label)
    model.prepare(paddle.optimizer.SGD(1e-3, network.parameters()), nn.MSELoss())
    model.fit(loader, epochs=epochs, verbose=0, callbacks=[Watch()])
    return weights, updated


def test_an_update_of_several_batches_is_that_of_one_as_large():
    """11 numbers by twos, three to an update: 6 and 5, of which the last batch holds one."""
    expected, _ = trained(Batches(11, 6), epochs=2)
    weights, updated = trained(Batches(11, 2), accumulate=3, epochs=2)
    assert weights == pytest.approx(expected, rel=FEW)
    assert updated == [False, False, True, False, False, True] * 2


def test_an_epoch_that_goes_on_makes_its_updates_where_it_would_have():
    """Paddle counts from where it starts, and would leave the last group without one."""
    _, updated = trained(Batches(11, 2, first=3), accumulate=3)
    assert updated == [False, False, True]
    assert trained(Batches(4, 1, first=3), accumulate=3)[1] == [True]


def test_mixed_precision_is_refused_where_it_would_do_nothing(demo_set, tmp_path):
    words = ["-o", f"data.root={demo_set}", "-o", f"output={tmp_path / 'run'}", "-o", "device=cpu"]
    result = run_tool("train", *words, "-o", "train.amp=O1")
    assert_user_error(result, "train.amp=O1: requires a GPU, the device is cpu; use train.amp=none")
    assert not (tmp_path / "run").exists()
    refused = {"optimizer.name=momentum_2012": "optimizer.name=momentum", "train.ema=0.9": "train.amp=O1"}
    for more, remedy in refused.items():
        with pytest.raises(UserError, match=remedy):
            check_amp(load_config(None, ["train.amp=O2", more]), "gpu:0")
    check_amp(load_config(None, ["train.amp=O2"]), "gpu:0")


def test_cudnn_s_search_is_passed_on_to_a_gpu_and_refused_elsewhere(monkeypatch):
    flags = []
    monkeypatch.setattr(paddle, "set_flags", flags.append)
    for device in ("cpu", "gpu:0"):
        set_cudnn_search(load_config(None, []), device)
    assert flags == []
    config = load_config(None, ["train.cudnn_search=true"])
    set_cudnn_search(config, "gpu:0")
    assert flags == [{"FLAGS_cudnn_exhaustive_search": True}]
    with pytest.raises(
        UserError, match=r"train\.cudnn_search=true: requires a GPU, the device is cpu; set it to false"
    ):
        set_cudnn_search(config, "cpu")
    assert_user_error(run_tool("train", "-o", "train.cudnn_search=true", "-o", "device=cpu"), "train.cudnn_search=true")


def test_in_full_precision_of_float16_weights_has_the_optimizer_s_float32_weights():
    network = AlexNet("small", 4)
    exact = {name: value.numpy() for name, value in network.state_dict().items()}
    assert in_full_precision(network, SimpleNamespace()) is network
    masters = {value.name: paddle.to_tensor(exact[name]) for name, value in network.state_dict().items()}
    network.to(dtype="float16")
    twin = in_full_precision(network, SimpleNamespace(_master_weights=masters))
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), exact[name])
