"""The inference model: every backend, verified before it is in place, and nothing kept in memory after it."""

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from helpers import assert_user_error, metadata_of, run_tool
from rounding import LOGITS

from paddle_alexnet import AlexNet, UserError
from paddle_alexnet.exporting.exporter import export_network, exporting_network
from paddle_alexnet.inference.engine import open_engine
from paddle_alexnet.runs.checkpoint import save_checkpoint
from paddle_alexnet.runs.model_folder import read_model
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system import files

GROWTH = """
import gc, os, sys
from pathlib import Path
from helpers import metadata_of
from paddle_alexnet import AlexNet
from paddle_alexnet.exporting.exporter import export_network

grown = []
for i in range(6):
    network = AlexNet("half", 3)
    export_network(network, metadata_of(network), Path(sys.argv[1]))
    del network
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    grown.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
print(grown[-1] - grown[1])
"""


def test_the_exported_model_differs_by_rounding_at_most(tmp_path):
    network = AlexNet("small", 3)
    assert export_network(network, metadata_of(network), tmp_path / "model").difference <= LOGITS
    assert network.training, "the network goes on training as before"
    model = read_model(tmp_path / "model")
    assert model.metadata.kind == "inference"
    assert {"model.pdiparams"} < set(model.files)


def test_a_home_that_cannot_be_written(tmp_path, monkeypatch):
    """Paddle would write the sources that it traces there."""
    monkeypatch.setenv("HOME", "/dev/null/none")
    network = AlexNet("small", 3)
    export_network(network, metadata_of(network), tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names - {"model.json", "model.pdmodel", "model.pdiparams.info"} == {"metadata.json", "model.pdiparams"}


def test_an_export_that_differs_is_an_error_and_not_kept(tmp_path, monkeypatch):
    network = AlexNet("small", 3)
    monkeypatch.setattr("paddle_alexnet.exporting.verification.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differs from the network"):
        export_network(network, metadata_of(network), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_the_best_checkpoint_and_its_export_are_put_in_place_as_one(tmp_path, monkeypatch):
    """Killed while the export is made, both stay as they were; between the two swaps, `export` mends it."""
    network, run = AlexNet("small", 3), RunFolder(tmp_path / "run")
    network.eval()

    def save(epoch):
        metadata = metadata_of(network)
        metadata = replace(metadata, origin=replace(metadata.origin, epoch=epoch))
        with exporting_network(network, metadata, run.inference):
            save_checkpoint(run.best, network, metadata)

    def epochs():
        return [read_model(place).metadata.origin.epoch for place in (run.best, run.inference)]

    save(1)
    with monkeypatch.context() as patched:
        patched.setattr(paddle.jit, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(2)
    assert epochs() == [1, 1]
    with monkeypatch.context() as patched:
        swap = files._swap

        def swapped(new, place, *own, **how):
            (interrupt if place == run.inference else swap)(new, place, *own, **how)

        patched.setattr(files, "_swap", swapped)
        with pytest.raises(KeyboardInterrupt):
            save(2)
    assert epochs() == [2, 1]
    result = run_tool("export", ".", cwd=run.path)
    assert result.returncode == 0, result.stderr
    assert epochs() == [2, 2]


def interrupt(*arguments, **named):
    raise KeyboardInterrupt


def test_an_export_takes_no_checkpoint_s_place(tmp_path):
    network = AlexNet("small", 3)
    save_checkpoint(tmp_path / "checkpoint", network, metadata_of(network))
    result = run_tool("export", tmp_path / "checkpoint", "--output", tmp_path / "checkpoint")
    assert_user_error(result, "kind checkpoint")
    assert read_model(tmp_path / "checkpoint").metadata.kind == "checkpoint"
    assert run_tool("export", ".", cwd=tmp_path / "checkpoint").returncode == 0
    assert read_model(tmp_path / "checkpoint-inference").metadata.kind == "inference"


@pytest.mark.parametrize("lrn", ["native", "avgpool3d", "builtin", "band"])
def test_every_backend_exports_or_is_swapped_for_one_that_can(lrn, narrow_presets, tmp_path):
    network = AlexNet("caffenet", 10, lrn)
    assert export_network(network, metadata_of(network), tmp_path / "model").difference <= LOGITS


@pytest.mark.parametrize("lrn", ["native", "avgpool3d"])
def test_dropout_that_scales_in_evaluation_is_exported_with_its_scale(lrn, narrow_presets, tmp_path):
    paddle.seed(0)
    network = AlexNet("source145", 10, lrn)
    assert export_network(network, metadata_of(network), tmp_path / "model").difference <= LOGITS
    image = 50 * np.random.default_rng(1).standard_normal((2, 3, 224, 224), np.float32)
    exported = open_engine(read_model(tmp_path / "model"))(image)

    network.eval()
    with paddle.no_grad():
        live = network(paddle.to_tensor(image)).numpy()
        for _, layer in network.named_layers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0  # no scale either
        unscaled = network(paddle.to_tensor(image)).numpy()
    assert np.abs(exported - live).max() <= LOGITS * np.abs(live).max()
    assert np.abs(unscaled - live).max() > 0.5 * np.abs(live).max()


def test_the_tool_exports_a_checkpoint_as_training_does(tmp_path):
    network = AlexNet("small", 3)
    network.eval()
    save_checkpoint(tmp_path / "checkpoint", network, metadata_of(network))
    export_network(network, metadata_of(network), tmp_path / "first")
    result = run_tool("export", tmp_path / "checkpoint", "--output", tmp_path / "again")
    assert result.returncode == 0, result.stderr
    image = np.random.default_rng(1).standard_normal((1, 3, 131, 131), np.float32)
    first, again = (open_engine(read_model(tmp_path / name))(image) for name in ("first", "again"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux does")
@pytest.mark.slow
def test_exports_leave_nothing_in_memory(tmp_path):
    """Four networks of 58 MB each; `paddle.jit.save` alone keeps the weights of every one."""
    command = [sys.executable, "-c", GROWTH, str(tmp_path / "model")]
    printed = subprocess.run(command, capture_output=True, text=True, cwd="tests/support", check=True).stdout
    assert float(printed) < 2 * 58


def test_a_disk_that_fills_is_said_and_leaves_the_export_before(tmp_path):
    """A limit on the size of files stands for it: Paddle writes a part of the weights and says nothing."""
    network = AlexNet("small", 3)
    export_network(network, metadata_of(network), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        with pytest.raises(UserError, match=r"cannot write it .*the disk may be full.*; the old content is untouched"):
            export_network(network, metadata_of(network), tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert not list(tmp_path.glob(".*"))
