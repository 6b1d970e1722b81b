"""Weights of a run: what is written is what is read, by plain Paddle too, and nothing in a file is run."""

import io
import pickle
from dataclasses import replace

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, metadata_of, run_tool

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.runs.checkpoint import WEIGHTS, load_checkpoint, read_pdparams, save_checkpoint
from paddle_alexnet.runs.model_folder import write_model


@pytest.fixture(scope="module")
def network():
    return AlexNet("small", 3)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    place = tmp_path_factory.mktemp("run") / "checkpoint"
    save_checkpoint(place, network, metadata_of(network))
    return place


def test_the_weights_come_back_to_the_bit(network, checkpoint):
    loaded, metadata = load_checkpoint(checkpoint)
    assert metadata.model == network.spec == loaded.spec
    assert not loaded.training
    theirs = paddle.load(str(checkpoint / WEIGHTS))
    ours = loaded.state_dict()
    assert set(theirs) == set(ours) == set(network.state_dict())
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(ours[name].numpy(), value.numpy())
        np.testing.assert_array_equal(theirs[name].numpy(), value.numpy())


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(UserError, match="would run"):
        read_pdparams(io.BytesIO(pickle.dumps({"w": Evil()})), source=tmp_path / WEIGHTS)
    assert not (tmp_path / "ran").exists()


def test_weights_that_do_not_fit_are_all_listed(network, tmp_path):
    save_checkpoint(tmp_path / "other", AlexNet("small", 7), metadata_of(network))
    with pytest.raises(UserError) as error:
        load_checkpoint(tmp_path / "other")
    assert str(error.value).count("must be") == 2  # weight and bias of the last layer


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    """The answers of such a network may be finite, since Paddle's ReLU makes 0 of NaN."""
    network = AlexNet("small", 3)
    weight = network.block2[0].weight.numpy()
    weight[0, 0] = value
    network.block2[0].weight.set_value(weight)
    save_checkpoint(tmp_path / "spoilt", network, metadata_of(network))
    with pytest.raises(UserError, match=r"has NaN or infinity, .+: conv2 has 25 of 32000 in its weight; choose"):
        load_checkpoint(tmp_path / "spoilt")


def test_a_checkpoint_that_lists_no_weights_is_one_line(network, tmp_path):
    write_model(tmp_path / "empty", metadata_of(network), lambda folder: None)
    assert_user_error(run_tool("export", tmp_path / "empty"), WEIGHTS, "not found")


def test_an_exported_model_has_no_weights_to_load(network, tmp_path):
    metadata = replace(metadata_of(network), kind="inference")
    write_model(tmp_path / "exported", metadata, lambda folder: None)
    with pytest.raises(UserError, match="name a run or a checkpoint"):
        load_checkpoint(tmp_path / "exported")
