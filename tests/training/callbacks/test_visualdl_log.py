import logging
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from helpers import REPOSITORY, make_epoch
from paddle import nn

from paddle_alexnet.config.schema import Config
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.callbacks.recording import LogVisualDL
from paddle_alexnet.training.history import History


def full(**scalar):
    raise OSError(28, "No space left on device")


def log_an_epoch(folder, history):
    callback = LogVisualDL(RunFolder(folder), history, data="photographs", config=Config())
    callback.set_model(SimpleNamespace(network=nn.Sequential(nn.Conv2D(3, 8, 11), nn.ReLU(), nn.Conv2D(8, 4, 3))))
    callback.on_train_begin({})
    history.epochs.append(make_epoch())
    callback.on_eval_end({})
    return callback


def test_an_epoch_s_figures_can_be_read_back_and_no_thread_is_left(tmp_path):
    before = threading.active_count()
    callback = log_an_epoch(tmp_path, History())
    callback.close()
    callback.close()
    assert threading.active_count() == before
    from visualdl import LogReader

    (log,) = (tmp_path / "visualdl").iterdir()
    reader = LogReader(file_path=str(log))
    expected = {"loss/train": 2.0, "loss/val": 1.5, "top1/train": 0.1, "top1/val": 0.5}
    expected |= {"learning_rate": 1e-4, "images_per_second": 9.5}
    for tag, value in expected.items():
        (scalar,) = reader.get_data("scalar", tag)
        assert (scalar.id, scalar.value) == (1, pytest.approx(value))
    assert len(reader.get_data("histogram", "weights/0.weight")) == len(reader.get_data("image", "filters")) == 1
    (settings,) = reader.get_data("hyper_parameters", "hparam")
    assert ("train.seed", "0") in [(each.name, each.string_value) for each in settings.hparam.hparamInfos]


def test_a_visualdl_that_cannot_be_imported_is_said_in_a_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with caplog.at_level(logging.INFO):
        log_an_epoch(tmp_path, History()).close()
    (record,) = caplog.records
    assert record.getMessage().startswith("VisualDL is unusable (")
    assert not (tmp_path / "visualdl").exists()


def test_a_log_that_cannot_be_written_any_more_does_not_end_the_run(tmp_path, caplog):
    callback = log_an_epoch(tmp_path, History())
    callback.close()
    callback.writer = SimpleNamespace(add_scalar=full)
    with caplog.at_level(logging.INFO):
        callback.on_eval_end({})
        callback.on_eval_end({})
        callback.close()
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.messages[0]


@pytest.mark.slow
def test_a_home_that_cannot_be_written(tmp_path):
    """VisualDL makes a folder there when it is imported."""
    program = (
        "import logging; logging.basicConfig(); logging.getLogger('paddle_alexnet').setLevel('INFO')\n"
        "from pathlib import Path\n"
        "from paddle_alexnet.runs.run_folder import RunFolder\n"
        "from paddle_alexnet.training.callbacks.recording import LogVisualDL\n"
        "from paddle_alexnet.config.schema import Config\n"
        "from paddle_alexnet.training.history import History\n"
        "callback = LogVisualDL(RunFolder(Path('run')), History(), data='x', config=Config())\n"
        "callback.on_train_begin({}); callback.on_eval_end({}); callback.close()"
    )
    environment = {**os.environ, "HOME": "/dev/null/none", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert "VisualDL is unusable" in result.stderr
