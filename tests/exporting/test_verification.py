"""An export is compared with its network on pictures, in every way to run it; one that differs is not kept."""

import shutil

import numpy as np
import paddle
import pytest
from helpers import metadata_of
from rounding import LOGITS

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.exporting import verification as proof
from paddle_alexnet.exporting.exporter import exporting_network
from paddle_alexnet.exporting.verification import Pictures, Unproven, pictures
from paddle_alexnet.runs.model_folder import read_metadata


@pytest.fixture
def network():
    paddle.seed(0)
    network = AlexNet("small", 3, "auto")
    network.eval()
    return network


@pytest.fixture
def shown():
    return Pictures(np.random.default_rng(0).standard_normal((4, 3, 131, 131), np.float32), "4 of noise")


def test_export_records_every_engine_with_its_difference(network, shown, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "LATENCIES", (1, 2))
    with exporting_network(network, metadata_of(network), tmp_path / "model", shown=shown) as told:
        pass
    assert read_metadata(tmp_path / "model").proof == told
    assert told.images == "4 of noise"
    engines = [check.engine for check in told.checks]
    assert engines[:3] == ["the network itself", "Paddle Inference, oneDNN", "Paddle Inference, without oneDNN"]
    for check in told.checks:
        assert set(check.milliseconds) == {1, 2}
        assert check.milliseconds[1] > 0
        assert check.top1_agreement == 1
    assert 0 < told.checks[1].difference <= LOGITS
    assert told.bytes == sum(path.stat().st_size for path in (tmp_path / "model").glob("model.*"))
    has_bfloat16 = any("bfloat16" in each for each in (*engines, *told.left_out))
    assert has_bfloat16 == paddle.base.core.supports_bfloat16()


def test_export_that_differs_in_one_engine_is_not_kept(network, shown, tmp_path, monkeypatch):
    def without_onednn_wrong(*arguments, **named):
        ways = original(*arguments, **named)
        engine = ways["Paddle Inference, without oneDNN"]()
        ways["Paddle Inference, without oneDNN"] = lambda: lambda image: engine(image) + np.float32(1e-3)
        return ways

    original = proof.ways_to_run
    monkeypatch.setattr(proof, "ways_to_run", without_onednn_wrong)
    export = exporting_network(network, metadata_of(network), tmp_path / "model", shown=shown)
    with pytest.raises(Unproven, match=r"differs from the network by \d\.\de-0[34]") as error, export:
        pass
    assert error.value.proof.checks[1].difference <= LOGITS
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(paddle.__version__ >= "3", reason="Paddle 3 exports no native kernel")
def test_export_takes_the_band_lrn_if_the_native_kernel_rounds_too_far(network, shown, tmp_path):
    first = next(iter(network.parameters()))
    first.set_value(first * 1e4)
    with exporting_network(network, metadata_of(network), tmp_path / "model", shown=shown) as told:
        pass
    assert told.difference <= LOGITS
    assert read_metadata(tmp_path / "model").model.lrn == "band"


def test_the_pictures_are_of_the_val_split_where_it_is_at_hand(finished_run):
    metadata = read_metadata(finished_run.output)
    shown = pictures(metadata)
    assert shown.words == "3 images of the val split of embedded demo set"
    assert shown.image.shape == (3, 3, 131, 131)
    assert len(np.unique(shown.image, axis=0)) == 3


def test_verification_images_of_a_moved_data_set_are_found_by_its_new_root(finished_run, demo_set, tmp_path):
    metadata = read_metadata(finished_run.output)
    moved = shutil.copytree(demo_set, tmp_path / "moved")
    shown = pictures(metadata, moved)
    assert shown.words == f"3 images of the val split of {moved / 'labels.csv'}"
    np.testing.assert_array_equal(shown.image, pictures(metadata).image)
    with pytest.raises(UserError, match="image folder not found"):
        pictures(metadata, tmp_path / "nowhere")


def test_verification_images_without_a_data_set_are_drawn(network):
    shown = pictures(metadata_of(network))
    assert shown.words.startswith("3 drawn images, because the val split is not found (the model's data set is not")
    assert shown.image.shape == (3, 3, 131, 131)
    assert len(np.unique(shown.image, axis=0)) == 3
