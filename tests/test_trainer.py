"""The main job on a small set, and the traps of `paddle.Model` that it steps around."""

import math
import signal
import subprocess
import sys
import time

import numpy as np
import paddle
import pandas as pd
import pytest
from helpers import REPOSITORY, assert_user_error, run_tool, small_config
from PIL import Image

from paddle_alexnet import Predictor, UserError, load_config, train
from paddle_alexnet.evaluation import evaluate
from paddle_alexnet.metrics import MeanLoss
from paddle_alexnet.runs.checkpoint import load_checkpoint


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
    assert metrics["val_loss"].min() == pytest.approx(finished_run.best.val_loss, rel=1e-5)


def test_validation_loss_is_the_mean_over_every_image(finished_run, demo_set):
    """Paddle reports the last batch's loss. 10 images in batches of 8 and 2 tell the difference."""
    result = evaluate(Predictor(finished_run.output), split="val", batch_size=3)
    assert result.images == 10
    assert finished_run.best.val_loss == pytest.approx(result.loss, rel=1e-5)
    assert finished_run.best.val_top1 == pytest.approx(result.top1)


def test_training_loss_is_the_mean_over_every_image():
    """Identity network: the losses of the batches are known, and far apart."""
    logits = np.array([[9.0, 0], [9, 0], [9, 0], [0, 9], [0, 9]], np.float32)
    batches = [(paddle.to_tensor(logits[i : i + 2]), paddle.to_tensor([0] * len(logits[i : i + 2]))) for i in (0, 2, 4)]
    model = paddle.Model(paddle.nn.Identity(), inputs=paddle.static.InputSpec([None, 2], "float32", "logits"))
    model.prepare(loss=paddle.nn.CrossEntropyLoss(), metrics=[MeanLoss()])
    expected = (3 * math.log(1 + math.exp(-9)) + 2 * math.log(1 + math.exp(9))) / 5
    assert model.evaluate(batches, verbose=0)["loss"] == pytest.approx(expected, rel=1e-6)


def test_best_model_is_that_of_the_best_epoch_after_its_validation(finished_run):
    """`on_epoch_end` fires before the evaluation: a model saved there would belong to another loss."""
    _, metadata = load_checkpoint(finished_run.output)
    best = min(finished_run.history, key=lambda epoch: epoch.val_loss)
    assert (metadata.origin.epoch, metadata.origin.val_loss) == (best.epoch, best.val_loss)
    assert [epoch.improved for epoch in finished_run.history] == [
        epoch.val_loss < min([math.inf, *(e.val_loss for e in finished_run.history[:i])])
        for i, epoch in enumerate(finished_run.history)
    ]


def test_schedule_steps_by_the_epoch(demo_set, tmp_path):
    """Paddle's own callback steps per batch: with 4 batches an epoch the rate would fall in the first."""
    results = train(
        small_config(demo_set, tmp_path / "run", "schedule.name=step", "schedule.milestones=[1, 2]", "train.epochs=3")
    )
    assert [epoch.learning_rate for epoch in results.history] == pytest.approx([1e-4, 1e-5, 1e-6])


def test_patience_counts_epochs_without_improvement(demo_set, tmp_path):
    """At a rate of 1e-30 no epoch is better than the first; Paddle's default would stop after that one."""
    frozen = ("optimizer.learning_rate=1e-30", "train.epochs=6")
    stopped = train(small_config(demo_set, tmp_path / "stop", *frozen, "train.patience=2"))
    assert len(stopped.history) == 3
    assert stopped.best.epoch == 1


@pytest.mark.slow
def test_plateau_lowers_the_rate_on_the_mean_loss(demo_set, tmp_path):
    plateau = ("schedule.name=plateau", "schedule.patience=1", "schedule.factor=0.5")
    results = train(
        small_config(demo_set, tmp_path / "run", *plateau, "optimizer.learning_rate=1e-30", "train.epochs=3")
    )
    rates = [epoch.learning_rate / 1e-30 for epoch in results.history]
    assert rates == pytest.approx([1, 1, 0.5])


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
def test_starting_from_a_checkpoint_starts_from_its_weights(finished_run, demo_set, tmp_path):
    frozen = ("optimizer.learning_rate=1e-30", "train.epochs=1", f"model.weights={finished_run.output}")
    results = train(small_config(demo_set, tmp_path / "run", *frozen))
    assert results.best.val_loss == pytest.approx(finished_run.best.val_loss, rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(demo_set, tmp_path):
    with pytest.raises(UserError, match=r"epoch 1, step \d+: lower optimizer.learning_rate"):
        train(small_config(demo_set, tmp_path / "run", "optimizer.learning_rate=1e30"))


@pytest.mark.slow
def test_an_earlier_run_is_kept(demo_set, tmp_path, capsys):
    output = tmp_path / "run"
    (output / "checkpoints" / ".best.partial").mkdir(parents=True)  # as a killed run leaves it
    (output / "config.yaml").write_text("the earlier one")
    train(small_config(demo_set, output, "train.epochs=1"))
    assert (tmp_path / "run.1" / "config.yaml").read_text() == "the earlier one"
    assert not (tmp_path / "run.1" / "checkpoints" / ".best.partial").exists()
    assert "kept as" in capsys.readouterr().out
    assert Predictor(output).metadata.origin.epoch == 1


def test_a_folder_that_is_no_run_is_left_alone(demo_set, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run's"):
        train(small_config(demo_set, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_unwritable_output_is_one_line(demo_set, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        train(small_config(demo_set, tmp_path / "file" / "run"))


def test_a_gpu_that_is_not_there_is_one_line(demo_set, tmp_path):
    with pytest.raises(UserError, match="device=cpu"):
        train(small_config(demo_set, tmp_path / "run", "device=gpu:63"))


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
            "-o", "model.preset=half", "-o", "train.batch_size=8",
        )  # fmt: skip
        assert_user_error(result, str(victim), "truncated")
    assert not (tmp_path / "true").exists(), "nothing is written before the data is known to be good"


@pytest.mark.slow
def test_without_data_it_trains_on_the_demo_set_and_says_so(tmp_path):
    """The one real path of `python tools/train.py`, in an empty folder, with small numbers."""
    result = run_tool("train", "-o", "model.preset=half", "-o", "train.epochs=1", "-o", "output=run", cwd=tmp_path)
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
    program = "import os, paddle_alexnet; print(os.environ['OMP_NUM_THREADS'], len(os.sched_getaffinity(0)))"
    environment = {"PATH": ""}
    threads, cores = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).split()
    assert threads == cores
    environment["OMP_NUM_THREADS"] = "7"
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).split()[0] == "7"


@pytest.mark.slow
def test_a_killed_run_leaves_a_whole_best_model_and_does_not_trip_the_next(demo_set, tmp_path):
    output = tmp_path / "run"
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py"), "-o", f"data.root={demo_set}"]
    command += [
        "-o",
        f"output={output}",
        "-o",
        "model.preset=half",
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
