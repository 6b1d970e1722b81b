"""Training in several processes: as the launcher starts them, against one."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from helpers import REPOSITORY, small_config
from launched import NO_DROPOUT
from rounding import FEW, LOGITS, LOSS

import paddle_alexnet
from paddle_alexnet.config.recipe import load_config
from paddle_alexnet.data.loader import PADDING, is_sample
from paddle_alexnet.evaluation.metrics import CrossEntropy, MeanLoss, cross_entropy
from paddle_alexnet.network.presets import PRESETS
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.training.callbacks.checkpoints import SaveState
from paddle_alexnet.training.distributed import (
    device_of_rank,
    global_loss,
    global_metric,
    on_first,
    parallel,
    rank,
    ranks,
)
from paddle_alexnet.training.resume import find_state

PLAIN = (
    "model.preset=plain",
    "device=cpu",
    "data.workers=1",
    "data.verify=false",
    "optimizer.name=momentum",
    "optimizer.learning_rate=0.01",
    "optimizer.clip_norm=1",
    "schedule.name=cosine",
    "schedule.per=step",
    "train.batch_size=7",
    "train.accumulate=2",
    "train.ema=0.9",
    "train.label_smoothing=0.1",
    "train.epochs=2",
    "train.report=false",
)


@pytest.fixture(scope="module")
def table(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set without one training image: 29, in batches of 7 the last one has one."""
    lines = (demo_set / "labels.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines.remove(next(line for line in lines if line.rstrip().endswith(",train")))
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def launch(folder: Path, *words: object, machines: int, processes: int, **environment: str) -> list[Any]:
    """Start a training as on so many machines with so many processes each; the launchers, output in `out.N`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    launchers = []
    for machine in range(machines):
        several = ["--master", f"127.0.0.1:{port}", "--nnodes", machines, "--rank", machine] if machines > 1 else []
        command = [sys.executable, "-m", "paddle.distributed.launch", *several, "--nproc_per_node", processes]
        command += ["--log_dir", folder / f"log.{machine}", REPOSITORY / "tests/support/launched.py", "train", *words]
        with (folder / f"out.{machine}").open("w") as out:
            process = subprocess.Popen([*map(str, command)], stdout=out, stderr=out, cwd=folder, env=environment)
        launchers.append(process)
    return launchers


def ended(launchers: list[Any], *, within: float) -> list[int]:
    """The launchers' exit codes; none of them is left."""
    until = time.monotonic() + within
    try:
        return [each.wait(timeout=max(0, until - time.monotonic())) for each in launchers]
    finally:
        for each in launchers:
            each.terminate()
            each.wait()


def words(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("-o", override)]


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def one(demo_set: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run of one process."""
    monkeypatch.setitem(PRESETS, "plain", NO_DROPOUT)
    config = small_config(demo_set, tmp_path / "one", f"data.csv={table}", *PLAIN)
    return paddle_alexnet.train(config).output


def assert_same_run(one: Path, two: Path) -> None:
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        for key in ("train_loss", "train_top1", "val_loss", "val_top1"):
            assert float(together[key]) == pytest.approx(float(alone[key]), rel=LOSS), key
    weights = [load_checkpoint(run)[0].state_dict() for run in (one, two)]
    for name, value in weights[0].items():
        # Six updates by gradients that are summed in another order; with momentum, one moves a weight by up to 0.1.
        np.testing.assert_allclose(weights[1][name].numpy(), value.numpy(), atol=6 * 0.1 * LOGITS, err_msg=name)


@pytest.mark.slow
def test_two_machines_follow_one_process(demo_set, table, one, tmp_path):
    """29 images in batches of 7, of which two processes get 4 and 3; in the last batch, of 1, one gets none."""
    two = tmp_path / "two"
    options = ["-c", "paddle2", *words(f"data.root={demo_set}", f"data.csv={table}", f"output={two}", *PLAIN)]
    launchers = launch(tmp_path, *options, machines=2, processes=1)
    assert ended(launchers, within=300) == [0, 0], (tmp_path / "out.0").read_text() + (tmp_path / "out.1").read_text()
    assert_same_run(one, two)
    assert (tmp_path / "out.0").read_text().count("2 processes share each global batch of 7 images") == 1
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert "epoch" not in (tmp_path / "log.1" / "workerlog.0").read_text()


@pytest.mark.slow
def test_resume_with_one_process_continues_a_run_of_two(demo_set, table, one, tmp_path):
    """By SIGTERM to the launcher: all finish the same step, and the first saves the state."""
    two = tmp_path / "two"
    options = ["-c", "paddle2", *words(f"data.root={demo_set}", f"data.csv={table}", f"output={two}", *PLAIN)]
    launchers = launch(tmp_path, *options, machines=1, processes=2, STOP="yes")
    assert ended(launchers, within=300) != [0]
    state = find_state(two).state
    assert (state.epoch, state.step) == (1, 4), (tmp_path / "out.0").read_text()
    config = small_config(demo_set, two, f"data.csv={table}", *PLAIN)
    assert_same_run(one, paddle_alexnet.train(config, resume=two).output)


@pytest.mark.slow
def test_two_processes_go_on_where_one_was_stopped(demo_set, table, one, tmp_path, monkeypatch):
    two, before = tmp_path / "two", SaveState.on_train_batch_end

    def ctrl_c(self: SaveState, step: int, logs: Any) -> None:
        if self.live.loader.position == 2:
            signal.raise_signal(signal.SIGINT)
        before(self, step, logs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SaveState, "on_train_batch_end", ctrl_c)
        paddle_alexnet.train(small_config(demo_set, two, f"data.csv={table}", *PLAIN))
    assert find_state(two).state.step == 2
    launchers = launch(tmp_path, "--resume", two, machines=1, processes=2)
    assert ended(launchers, within=300) == [0], (tmp_path / "out.0").read_text()
    assert_same_run(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("how, reason", [("killed", "ended without a message"), ("error", "no more of this")])
def test_training_with_a_failing_process_ends_every_process(demo_set, tmp_path, how, reason):
    """On the machine of the one that failed the launcher ends the other; on another machine nobody else would."""
    data = (f"data.root={demo_set}", f"output={tmp_path / 'run'}")
    launchers = launch(tmp_path, *words(*data, *PLAIN, "train.epochs=1000"), machines=2, processes=1, FAIL=how)
    until = time.monotonic() + 300
    while launchers[1].poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    first, _ = ended(launchers, within=60)
    assert first != 0
    assert f"error: rank 1: {reason}" in (tmp_path / "out.0").read_text()


def test_alone_nothing_changes(monkeypatch):
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    assert (rank(), ranks(), on_first(1, 2), device_of_rank("auto")) == (0, 1, (1, 2), "auto")


def test_each_process_takes_the_device_that_it_was_given(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "4")
    monkeypatch.setenv("PADDLE_TRAINER_ID", "3")
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "auto")
    monkeypatch.setenv("FLAGS_selected_gpus", "3")
    assert (rank(), ranks(), on_first(1, 2), device_of_rank("auto")) == (3, 4, (), "gpu:3")
    assert device_of_rank("cpu") == "cpu" and os.environ["PADDLE_DISTRI_BACKEND"] == "gloo"
    with pytest.raises(UserError, match="auto"):
        device_of_rank("gpu:0")
    config = load_config(None, ["train.batch_size=3", "device=cpu"])
    with pytest.raises(UserError, match=r"train\.batch_size=3: is less than the 4 processes"), parallel(config):
        pass


def test_loss_and_metrics_are_means_over_the_samples_of_all_ranks(monkeypatch):
    """Rank 0 of two has three samples, rank 1 one and two rows of padding; gradients are averaged over the ranks."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(6, 5)).astype("float32"))
    label = paddle.to_tensor([1, 2, 3, 4, PADDING, PADDING])
    parts = [(logits[:3], label[:3]), (logits[3:], label[3:])]
    expected = cross_entropy(logits[:4], label[:4])

    monkeypatch.setattr(paddle.distributed, "all_reduce", lambda value: value.set_value(paddle.to_tensor(4.0)))
    loss = global_loss(CrossEntropy())
    assert sum(loss(*part).item() for part in parts) / 2 == pytest.approx(expected.mean().item(), rel=FEW)
    nothing = loss(logits[4:], label[4:])
    assert nothing.item() == 0

    for gathered in (False, True):  # training, and evaluation, where paddle.Model has gathered the logits
        for number in (0, 1):
            monkeypatch.setenv("PADDLE_TRAINER_ID", str(number))
            metric, reference = global_metric(MeanLoss()), MeanLoss()
            there = [reference.compute(*parts[number]), is_sample(parts[number][1]).astype("int32")]

            def gather(rows: list[paddle.Tensor], here: paddle.Tensor, there: list[paddle.Tensor] = there) -> None:
                np.testing.assert_array_equal(here.numpy(), there.pop(0).numpy())  # this rank's own rows
                own = is_sample(label).astype("int32") if here.dtype == paddle.int32 else cross_entropy(logits, label)
                rows += [own[:3], own[3:]]

            monkeypatch.setattr(paddle.distributed, "all_gather", gather)
            rows, labels = (logits, label) if gathered else parts[number]
            rows = rows.detach()
            rows.stop_gradient = gathered
            metric.update(metric.compute(rows, labels).numpy())
            assert (metric.accumulate(), metric.count) == (pytest.approx(expected.mean().item(), rel=FEW), 4)
