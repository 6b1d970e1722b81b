"""The main job on a small set, and the traps of `paddle.Model` that it steps around."""

import logging
import math
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pandas as pd
import pytest
from helpers import REPOSITORY, OneLayer, assert_user_error, optimizer_of, run_tool, schedule_of, small_config
from paddle.metric import Accuracy
from PIL import Image
from rounding import FEW, LOSS, SIX_DIGITS

from paddle_alexnet import Predictor, UserError, load_config, train
from paddle_alexnet.config.recipe import with_absolute_paths
from paddle_alexnet.config.schema import DataConfig, OptimizerConfig, ScheduleConfig
from paddle_alexnet.data import demo, pipeline
from paddle_alexnet.evaluation.evaluate import evaluate
from paddle_alexnet.evaluation.metrics import CrossEntropy, MeanLoss
from paddle_alexnet.network.alexnet import AlexNet
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training import setup
from paddle_alexnet.training.callback_order import say_what_is_kept
from paddle_alexnet.training.callbacks.recording import RecordEpoch
from paddle_alexnet.training.callbacks.stopping import StopEarly
from paddle_alexnet.training.history import History


def test_a_run_leaves_everything_a_person_looks_for(finished_run):
    output = finished_run.output
    for name in (
        "config.yaml",
        "metrics.csv",
        "curves.png",
        "inference/metadata.json",
        "checkpoints/best",
        "checkpoints/last",
    ):
        assert (output / name).exists(), name
    assert any((output / "visualdl").iterdir())
    assert not list(output.rglob(".*")), "nothing half-written is left"
    with Image.open(output / "curves.png") as curves:
        assert curves.width > 500
    assert (output / "config.yaml").read_text().startswith("# the data is embedded demo set\n")
    metrics = pd.read_csv(output / "metrics.csv")
    assert list(metrics["epoch"]) == [1, 2]
    assert set(metrics["data"]) == {"embedded demo set"}
    assert metrics["val_loss"].min() == pytest.approx(finished_run.best.val_loss, rel=SIX_DIGITS)


def test_validation_loss_is_the_mean_over_every_image(finished_run, demo_set):
    """Paddle reports the last batch's loss. 10 images in batches of 8 and 2 tell the difference."""
    result = evaluate(Predictor(finished_run.output), split="val", batch_size=3)
    assert result.images == 10
    assert finished_run.best.val_loss == pytest.approx(result.loss, rel=LOSS)
    assert finished_run.best.val_top1 == pytest.approx(result.top1)


def test_training_loss_is_the_mean_over_every_image():
    """Identity network: the losses of the batches are known, and far apart."""
    logits = np.array([[9.0, 0], [9, 0], [9, 0], [0, 9], [0, 9]], np.float32)
    batches = [(paddle.to_tensor(logits[i : i + 2]), paddle.to_tensor([0] * len(logits[i : i + 2]))) for i in (0, 2, 4)]
    model = paddle.Model(paddle.nn.Identity(), inputs=paddle.static.InputSpec([None, 2], "float32", "logits"))
    model.prepare(loss=paddle.nn.CrossEntropyLoss(), metrics=[MeanLoss()])
    expected = (3 * math.log(1 + math.exp(-9)) + 2 * math.log(1 + math.exp(9))) / 5
    assert model.evaluate(batches, verbose=0)["loss"] == pytest.approx(expected, rel=FEW)


def test_best_model_is_that_of_the_best_epoch_after_its_validation(finished_run):
    """`on_epoch_end` fires before the evaluation: a model saved there would belong to another loss."""
    _, metadata = load_checkpoint(finished_run.output)
    best = min(finished_run.history, key=lambda epoch: epoch.val_loss)
    assert (metadata.origin.epoch, metadata.origin.val_loss) == (best.epoch, best.val_loss)
    assert [epoch.improved for epoch in finished_run.history] == [
        epoch.val_loss < min([math.inf, *(e.val_loss for e in finished_run.history[:i])])
        for i, epoch in enumerate(finished_run.history)
    ]


def fit_frozen(epochs, schedule=None, patience=0):
    """The history of a linear network whose rate is too small to change it, so that no epoch betters the first."""
    network, history = OneLayer(2), History()
    sgd = OptimizerConfig(name="sgd", learning_rate=1e-30)
    schedule = schedule_of(
        schedule or ScheduleConfig(),
        network,
        sgd,
        epochs=epochs,
        steps=4,
    )
    batches = [(paddle.ones([2, 2]), paddle.to_tensor([0, 1])) for _ in range(4)]
    model = paddle.Model(network, inputs=paddle.static.InputSpec([None, 2], "float32", "image"))
    optimizer = optimizer_of(network, sgd, schedule.rate)
    model.prepare(optimizer, CrossEntropy(), metrics=[MeanLoss(), Accuracy(name="top1")])
    callbacks = [*schedule.callbacks, RecordEpoch(history, data="ones"), StopEarly(history, patience=patience)]
    model.fit(batches, batches, epochs=epochs, verbose=0, callbacks=callbacks)
    return history


def test_schedule_steps_by_the_epoch():
    """Paddle's own callback steps per batch: with 4 batches an epoch the rate would fall in the first."""
    history = fit_frozen(3, ScheduleConfig(name="step", milestones=(1, 2)))
    assert [epoch.learning_rate for epoch in history.epochs] == pytest.approx([1e-30, 1e-31, 1e-32], abs=0, rel=FEW)


def test_plateau_watches_the_validation_loss():
    history = fit_frozen(4, ScheduleConfig(name="plateau", patience=0, factor=0.5))
    rates = [epoch.learning_rate for epoch in history.epochs]
    assert rates == pytest.approx([1e-30, 1e-30, 0.5e-30, 0.25e-30], abs=0, rel=FEW)


def test_patience_counts_epochs_without_improvement():
    """Paddle's default would stop after the first epoch."""
    stopped = fit_frozen(6, patience=2)
    assert len(stopped.epochs) == 3
    assert stopped.best.epoch == 1
    assert len(fit_frozen(6).epochs) == 6


@pytest.mark.slow
def test_same_seed_same_run_and_another_seed_another(demo_set, tmp_path):
    runs = [
        train(
            small_config(demo_set, tmp_path / str(i), "train.epochs=1", f"train.seed={seed}", f"data.workers={workers}")
        )
        for i, (seed, workers) in enumerate([(1, 1), (1, 3), (2, 1)])
    ]
    losses = [run.history[0].train_loss for run in runs]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked, before, expected",
    [
        ("auto", "paddle", "paddle"),
        ("auto", None, "paddle"),
        ("auto", "compiled", "compiled"),
        ("paddle", "compiled", "paddle"),
    ],
)
def test_a_resumed_run_keeps_its_kernels_unless_the_config_names_some(asked, before, expected, demo_set, monkeypatch):
    asked_for = []

    def refuse(*_, kernels, **__):
        asked_for.append(kernels)
        raise UserError("enough")

    state = SimpleNamespace(config={"model.kernels": before} if before else {})
    monkeypatch.setattr(setup, "find_state", lambda _: SimpleNamespace(state=state))
    monkeypatch.setattr(setup, "AlexNet", refuse)
    config = small_config(demo_set, Path("run"), f"model.kernels={asked}")
    for resume in (Path("run"), None):
        with pytest.raises(UserError, match="enough"):
            setup.prepare_run(config, device="cpu", resume=resume)
    assert asked_for == [expected, asked]


def test_starting_from_a_checkpoint_starts_from_its_weights(finished_run, demo_set, tmp_path):
    frozen = ("optimizer.learning_rate=1e-30", "train.epochs=1", f"model.weights={finished_run.output}")
    results = train(small_config(demo_set, tmp_path / "run", *frozen))
    assert results.best.val_loss == pytest.approx(finished_run.best.val_loss, rel=LOSS)


def test_a_run_that_fails_says_where_and_that_nothing_is_kept(demo_set, tmp_path, caplog):
    threads = threading.active_count()
    where = r"not finite, first in the output of conv2, because optimizer\.learning_rate=1e\+30 is too high"
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match=where):
        train(small_config(demo_set, tmp_path / "run", "optimizer.learning_rate=1e30", "model.lrn=none"))
    assert caplog.messages[-1] == f"{tmp_path / 'run'}: no model yet, because no epoch was finished"
    assert threading.active_count() == threads
    with RunFolder(tmp_path / "run").begin():
        pass  # its lock has ended with it


def test_an_interrupted_run_says_where_its_best_model_lies(tmp_path, caplog):
    run = RunFolder(tmp_path)
    run.best.mkdir(parents=True)
    with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt), say_what_is_kept(run):
        raise KeyboardInterrupt
    assert caplog.messages == [f"best model so far: {run.best}"]


def test_a_run_s_config_is_what_was_set_and_can_be_repeated_from_any_folder(finished_run, demo_set, monkeypatch):
    config = load_config(finished_run.output / "config.yaml")
    assert config.data.csv is None, "found, not set"
    assert config == small_config(demo_set, finished_run.output, "train.epochs=2")
    monkeypatch.chdir("/usr/lib")
    relative = load_config(None, ["output=runs/a", "data.root=photos", "data.classes=c.txt", "model.weights=runs/b"])
    stored = with_absolute_paths(relative)
    assert (stored.output, stored.data.root) == ("/usr/lib/runs/a", "/usr/lib/photos")
    assert (stored.data.classes, stored.model.weights) == ("/usr/lib/c.txt", "/usr/lib/runs/b")
    assert stored.data.csv is stored.data.cache_folder is None


def test_two_runs_that_draw_the_demo_set_at_once_both_get_it(tmp_path, monkeypatch, caplog):
    """The first one's images must stay where they are: it is reading them."""
    both = threading.Barrier(2, timeout=60)
    write_tables = demo.write_tables

    def at_once(folder, **tables):
        write_tables(folder, **tables)
        both.wait()

    monkeypatch.setattr(demo, "write_tables", at_once)
    monkeypatch.setattr(demo, "draw_demo", partial(demo.draw_demo, images_per_class=2))
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda i: pipeline.open_table(DataConfig(), beside=tmp_path / f"run{i}"), range(2)))
    assert found[0].filenames.tolist() == found[1].filenames.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["demo-data"]
    assert len(list((tmp_path / "demo-data").rglob("*.jpg"))) == 20


@pytest.mark.slow
def test_an_earlier_run_is_kept(demo_set, tmp_path, caplog):
    output = tmp_path / "run"
    (output / "checkpoints" / ".best.0123abcd.partial").mkdir(parents=True)  # as a killed run leaves it
    (output / "config.yaml").write_text("# the data is the earlier one")
    with caplog.at_level(logging.INFO):
        train(small_config(demo_set, output, "train.epochs=1"))
    assert (tmp_path / "run.1" / "config.yaml").read_text() == "# the data is the earlier one"
    assert not (tmp_path / "run.1" / "checkpoints" / ".best.0123abcd.partial").exists()
    assert "kept as" in caplog.text
    assert Predictor(output).metadata.origin.epoch == 1


def test_a_folder_that_is_no_run_is_left_alone(demo_set, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run's"):
        train(small_config(demo_set, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_train_with_a_wrong_config_is_refused_before_an_image_is_read(finished_run, demo_set, tmp_path):
    """Every image is an empty file: any that is read is another error."""
    shutil.copy(demo_set / "labels.csv", tmp_path)
    for image in demo_set.rglob("*.jpg"):
        empty = tmp_path / image.relative_to(demo_set)
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
    (tmp_path / "file").touch()

    def refused(*overrides, output=tmp_path / "run"):
        with pytest.raises(UserError) as error:
            train(small_config(tmp_path, output, "data.verify=true", *overrides))
        assert not (tmp_path / "run").exists()
        return str(error.value)

    assert "device gpu:63: not found" in refused("device=gpu:63")
    assert "cannot write there" in refused(output=tmp_path / "file" / "run")
    assert "model not found" in refused(f"model.weights={tmp_path}")
    weights = f"model.weights={finished_run.output}"
    assert "the config fluid; set model.preset=" in refused(weights, "model.preset=fluid")
    with RunFolder(tmp_path / "busy").begin():
        assert "another run is writing it" in refused(output=tmp_path / "busy")


def test_unreadable_image_stops_training_instead_of_hanging(demo_set, tmp_path):
    """Paddle's loader without workers hangs for ever when a sample raises."""
    table = pd.read_csv(demo_set / "labels.csv")
    broken = tmp_path / "data"
    (broken / "images").mkdir(parents=True)
    for row in table.itertuples():
        (broken / row.filename).parent.mkdir(exist_ok=True)
        (broken / row.filename).symlink_to(demo_set / row.filename)
    victim = broken / table[table["split"] == "train"]["filename"].iloc[7]
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(content[: len(content) // 2])
    table.to_csv(broken / "labels.csv", index=False)
    for verify in ("true", "false"):  # found before the first step, or during training
        result = run_tool(
            "train", "-o", f"data.root={broken}", "-o", f"data.verify={verify}", "-o", f"output={tmp_path / verify}",
            "-o", "model.preset=small", "-o", "train.batch_size=8",
        )  # fmt: skip
        assert_user_error(result, str(victim), "truncated")
    assert not (tmp_path / "true").exists(), "nothing is written before the data is known to be good"


@pytest.mark.slow
def test_train_without_data_trains_on_the_demo_set(tmp_path):
    """The one real path of `python tools/train.py`, in an empty folder, with small numbers."""
    result = run_tool("train", "-o", "model.preset=small", "-o", "train.epochs=1", "-o", "output=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "training on the embedded demo set" in result.stdout
    assert "val_loss improved from inf to" in result.stdout
    assert "\ntrained on embedded demo set\nbest val_loss " in result.stdout
    assert (tmp_path / "run" / "inference" / "model.pdiparams").is_file()


def test_zlib_survives_paddle():
    """Paddle 2.6 exports an old zlib that crashes Python's, unless that is loaded first."""
    program = "import paddle_alexnet, zlib; assert zlib.decompress(zlib.compress(b'x' * 99)) == b'x' * 99"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_paddle_gets_every_core_unless_the_user_says_otherwise():
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    shown = ", ".join(f"os.environ['{name}']" for name in names)
    program = f"import os, paddle_alexnet; print(len(os.sched_getaffinity(0)), {shown})"
    environment = {"PATH": ""}
    cores, *found = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).split()
    assert found == [cores, "PASSIVE"]
    environment.update(zip(names, ("7", "ACTIVE")))
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).split()[1:] == [
        "7",
        "ACTIVE",
    ]


@pytest.mark.slow
def test_a_killed_run_leaves_a_whole_best_model_and_does_not_trip_the_next(demo_set, tmp_path):
    output = tmp_path / "run"
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py"), "-o", f"data.root={demo_set}"]
    command += [
        "-o",
        f"output={output}",
        "-o",
        "model.preset=small",
        "-o",
        "train.epochs=50",
        "-o",
        "data.verify=false",
    ]
    rng = np.random.default_rng()
    for killed in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(list(tmp_path.glob("run.*"))) < killed or not (output / "inference").is_dir():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for model in (output, output / "inference"):
            assert evaluate(Predictor(model), split="val").images == 10
    assert train(load_config(None, [*command[3::2], "train.epochs=1"])).best.epoch == 1
    assert len(list(tmp_path.glob("run.*"))) == 4


def test_a_run_needs_room_for_the_states_that_it_keeps(tmp_path, monkeypatch):
    """Weights of 6.1 MB: the best model, its export, and for each state the weights and the momentum."""
    network = AlexNet("small", 10)
    free = sum(parameter.size for parameter in network.parameters()) * 4 * (2 + 2 * 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    def check(*overrides):
        config = small_config(tmp_path, tmp_path / "run", "optimizer.name=momentum", *overrides)
        setup.check_space(RunFolder(config.output), network, config)

    check("train.keep_checkpoints=1")
    for override in ("train.keep_checkpoints=2", "train.ema=0.9", "optimizer.name=adam"):
        with pytest.raises(UserError, match="MB are free; set output"):
            check(override)
