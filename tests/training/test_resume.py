"""A run that is stopped and goes on ends as one that was never stopped: the same weights, the same figures."""

import csv
import hashlib
import io
import json
import logging
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from helpers import REPOSITORY, assert_user_error, run_tool, small_config, truncate
from rounding import LOSS

from paddle_alexnet import Predictor, UserError, load_config, train
from paddle_alexnet.config.recipe import RENAMED_KEYS
from paddle_alexnet.data.dataset import PatchDataset
from paddle_alexnet.data.table import read_table
from paddle_alexnet.evaluation.evaluate import evaluate
from paddle_alexnet.runs.checkpoint import load_checkpoint
from paddle_alexnet.runs.model_folder import read_model, write_model
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.runs.train_state import read_state
from paddle_alexnet.training.callbacks.checkpoints import SaveState
from paddle_alexnet.training.callbacks.seed_step import SeedStep
from paddle_alexnet.training.resume import check_same_run, check_same_sizes, identify_images

OLD_KEYS = {new: old for old, new in RENAMED_KEYS.items()}
# Dropout is in the network. Each kind of state is there: momentum, a rate that falls, a schedule that counts.
CHANCE = (
    "data.horizontal_flip=true",
    "data.color_jitter=0.4",
    "data.random_erasing=0.5",
    "data.mixup=0.2",
    "optimizer.name=momentum_2012",
    "optimizer.learning_rate=0.02",
    "schedule.name=plateau",
    "schedule.patience=0",
)


def config_of(root, output, epochs, *overrides):
    return small_config(root, output, f"train.epochs={epochs}", *CHANCE, *overrides)


def sums(output):
    """SHA-256 of weights and optimizer of the newest state, and of the best weights."""
    places = [output / "checkpoints" / name for name in ("last/weights.pdparams", "last/optimizer.npz")]
    best = output / "checkpoints" / "best" / "weights.pdparams"
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*places, best)]


def rows(output):
    """`metrics.csv` but for the speed."""
    with (output / "metrics.csv").open() as stream:
        return [{**row, "images_per_second": None} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def straight(demo_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("straight") / "run"
    train(config_of(demo_set, output, 3))
    return output


@pytest.fixture(scope="module")
def averaged(demo_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("averaged") / "run"
    train(small_config(demo_set, output, *AVERAGED))
    return output


@pytest.fixture
def finished(straight, tmp_path):
    """A copy of the straight run, to try things on."""
    return shutil.copytree(straight, tmp_path / "copy")


def test_epochs_and_more_epochs_are_as_many_at_once(straight, demo_set, tmp_path):
    output = tmp_path / "run"
    train(config_of(demo_set, output, 1, "train.keep_checkpoints=2"))
    results = train(config_of(demo_set, output, 3, "train.keep_checkpoints=2", "data.workers=1"), resume=output)
    assert (sums(output), rows(output)) == (sums(straight), rows(straight))
    assert [epoch.epoch for epoch in results.history] == [1, 2, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"run"}, "it stays one run"
    assert load_config(output / "config.yaml").train.epochs == 3
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == [
        "best", "epoch-0003-step-0000000", "epoch-0004-step-0000000", "last",
    ]  # fmt: skip
    for file in (output / "checkpoints" / "last").iterdir():
        file.write_bytes(b"damaged in place")
    assert read_state(output / "checkpoints" / "epoch-0004-step-0000000").state.finished
    from visualdl import LogReader

    (log,) = (output / "visualdl").iterdir()
    assert [scalar.id for scalar in LogReader(file_path=str(log)).get_data("scalar", "loss/val")] == [1, 2, 3]


def test_stopped_by_signals_in_mid_epoch_and_in_the_validation(straight, demo_set, tmp_path, monkeypatch):
    """SIGTERM in a step, then Ctrl-C in the validation, each gone on from by the command that was said."""
    output = tmp_path / "a run"
    original = SeedStep.on_train_batch_begin

    def in_the_second_epoch(self, step, logs):
        original(self, step, logs)
        if (len(self.history.epochs), self.loader.position) == (1, 2):
            signal.raise_signal(signal.SIGTERM)

    words = ["-c", "paddle2", *(f"-o{word}" for word in (f"data.root={demo_set}", f"output={output}", *CHANCE))]
    words += ["-o", "model.preset=small", "-o", "train.batch_size=8", "-o", "data.verify=false", "-o", "train.epochs=3"]
    with monkeypatch.context() as patch:
        patch.setattr(SeedStep, "on_train_batch_begin", in_the_second_epoch)
        result = run_tool("train", *words)
    assert result.returncode == 143
    assert result.stderr.splitlines()[-1] == "terminated"
    assert f"best model so far: {output}" in result.stdout
    assert read_state(output / "checkpoints" / "last").state.step == 2

    def ctrl_c(self, step, logs):
        signal.raise_signal(signal.SIGINT)
        before(self, step, logs)

    before = SaveState.on_eval_batch_end
    with monkeypatch.context() as patch:
        patch.setattr(SaveState, "on_eval_batch_end", ctrl_c)
        result = run_tool(*said(result))
    assert result.returncode == 130
    assert "resuming in epoch 2, after 2 of 4 steps" in result.stdout
    state = read_state(output / "checkpoints" / "last").state
    assert (state.epoch, state.step) == (2, 4)

    result = run_tool(*said(result))
    assert result.returncode == 0, result.stderr
    assert (sums(output), rows(output)) == (sums(straight), rows(straight))


# Each kind of state that the runs above have not.
AVERAGED = (
    *CHANCE[:4],
    "optimizer.name=adamw",
    "optimizer.weight_decay=0.05",
    "optimizer.clip_norm=1",
    "optimizer.groups=[{parameters: conv1.weight, milestones: [1, 2], rates: [1e-3, 0]}]",
    "schedule.name=cosine",
    "schedule.per=step",
    "schedule.warmup_epochs=1",
    "train.accumulate=2",
    "train.ema=0.9",
    "train.label_smoothing=0.1",
    "train.epochs=3",
)


@pytest.mark.parametrize("moment", ["in a group of batches", "in the validation of the average"])
def test_averages_schedules_by_the_step_and_groups_of_batches_go_on(averaged, demo_set, tmp_path, monkeypatch, moment):
    config = small_config(demo_set, tmp_path / "run", *AVERAGED)
    name = "on_train_batch_end" if moment == "in a group of batches" else "on_eval_batch_end"
    before = getattr(SaveState, name)

    def stop(self, step, logs):
        epochs, position = len(self.live.history.epochs), self.live.loader.position
        if epochs == 1 and (position == 1 or name == "on_eval_batch_end"):
            signal.raise_signal(signal.SIGINT)
        before(self, step, logs)

    with monkeypatch.context() as patch:
        patch.setattr(SaveState, name, stop)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert read_state(tmp_path / "run" / "checkpoints" / "last").state.step == (2 if "group" in moment else 4)
    train(config, resume=tmp_path / "run")
    assert (sums(tmp_path / "run"), rows(tmp_path / "run")) == (sums(averaged), rows(averaged))
    average, other = (np.load(run / "checkpoints" / "last" / "average.npz") for run in (averaged, tmp_path / "run"))
    assert all(np.array_equal(average[key], other[key]) for key in average.files)


def test_the_average_is_what_is_evaluated_and_exported(averaged, demo_set):
    best, last = (averaged / "checkpoints" / name / "weights.pdparams" for name in ("best", "last"))
    epochs = read_state(last.parent).state.history
    if epochs[-1]["improved"]:  # the last epoch's average is the best
        average = np.load(last.parent / "average.npz")
        weights = {name: value.numpy() for name, value in load_checkpoint(averaged)[0].state_dict().items()}
        assert all(np.array_equal(average[name], value) for name, value in weights.items())
    assert best.read_bytes() != last.read_bytes()
    figures = evaluate(Predictor(averaged / "inference"), root=demo_set)
    assert figures.loss == pytest.approx(min(epoch["val_loss"] for epoch in epochs), rel=LOSS)


def test_a_cosine_of_another_length_is_remarked_on(averaged, demo_set, tmp_path, caplog):
    copy = shutil.copytree(averaged, tmp_path / "copy")
    saved = read_state(copy / "checkpoints" / "last")
    config = small_config(demo_set, copy, *AVERAGED, "train.epochs=5")
    check_same_run(saved, config, saved.state.data, saved.metadata.model)
    assert "schedule.name=cosine: the run began with 3 epochs and resumes with 5" in caplog.text


def said(result):
    """The words of the command that goes on with a run, after the program's."""
    (line,) = re.findall("^to resume: (.+)$", result.stdout, re.MULTILINE)
    words = shlex.split(line)
    return words[words.index("train") :]


def test_a_second_signal_is_obeyed_at_once(demo_set, tmp_path, monkeypatch):
    def twice(self, step, logs):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SeedStep, "on_train_batch_begin", twice)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        train(config_of(demo_set, tmp_path / "run", 1))
    assert not (tmp_path / "run" / "checkpoints" / "last").exists()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    with pytest.raises(UserError, match="state not found, the run ended before saving one"):
        train(config_of(demo_set, tmp_path / "run", 1), resume=tmp_path / "run")


@pytest.mark.parametrize(("override", "key"), [
    ("model.preset=fluid", "model.preset=small, not fluid"),
    ("train.batch_size=4", "train.batch_size=8, not 4"),
    ("data.mixup=0", "data.mixup=0.2, not 0.0"),
    ("optimizer.learning_rate=0.1", "optimizer.learning_rate=0.02, not 0.1"),
    ("train.epochs=3", "has reached epoch 3; set a larger train.epochs"),
    ("output=elsewhere", "keeps its folder"),
])  # fmt: skip
def test_resume_with_a_changed_key_is_refused_by_its_name(finished, demo_set, override, key):
    before = sums(finished)
    result = run_tool("train", "--resume", finished, "-o", "train.epochs=9", "-o", override)
    assert_user_error(result, key)
    assert sums(finished) == before


def test_a_run_that_its_patience_would_have_ended_is_refused(demo_set, tmp_path):
    config = ("train.epochs=2", "optimizer.learning_rate=1e-30")  # the second epoch is not better, whoever computes it
    train(small_config(demo_set, tmp_path / "run", *config))
    result = run_tool("train", "--resume", tmp_path / "run", "-o", "train.epochs=9", "-o", "train.patience=1")
    assert_user_error(result, "without a better validation loss; increase train.patience")


def test_other_data_are_refused(finished, demo_set, tmp_path):
    table = (demo_set / "labels.csv").read_text().splitlines()
    shutil.copytree(demo_set, tmp_path / "data")
    (tmp_path / "data" / "labels.csv").write_text("\n".join([table[0], *reversed(table[1:])]) + "\n")
    words = ["--resume", finished, "-o", "train.epochs=4", "-o", f"data.root={tmp_path / 'data'}"]
    assert_user_error(run_tool("train", *words), "other images, labels or splits than those of data.root")


@pytest.fixture(scope="module")
def verified(demo_set, tmp_path_factory):
    """A run of one epoch whose images were verified, and its data."""
    folder = tmp_path_factory.mktemp("verified")
    shutil.copytree(demo_set, folder / "data")
    train(small_config(folder / "data", folder / "run", "train.epochs=1", "data.verify=true"))
    return folder


@pytest.fixture
def verified_copy(verified, tmp_path):
    """A copy of both, whose files have the times of the original ones."""
    return shutil.copytree(verified, tmp_path / "verified")


def resume_copy(copy, *overrides):
    words = [f"data.root={copy / 'data'}", f"data.cache_folder={copy / 'cache'}", "train.epochs=2", *overrides]
    return run_tool("train", "--resume", copy / "run", *(word for each in words for word in ("-o", each)))


def change_pixels(folder, *, same_size):
    """Give an image of the train split the pixels of another one."""
    first, second = sorted(path for path in folder.rglob("*.jpg"))[:2]
    content = second.read_bytes()
    if same_size:
        content = content[: first.stat().st_size].ljust(first.stat().st_size, b"\0")
    first.write_bytes(content)


@pytest.mark.parametrize(("verify", "same_size", "why"), [
    (False, False, "their files have other sizes"),
    (True, True, "the same sizes, but another content"),
    (False, True, "the same sizes, but another content"),  # read for this alone
])  # fmt: skip
def test_other_pixels_under_the_same_names_are_refused(verified_copy, verify, same_size, why):
    change_pixels(verified_copy / "data", same_size=same_size)
    before = sums(verified_copy / "run")
    result = resume_copy(verified_copy, f"data.verify={str(verify).lower()}")
    assert_user_error(result, "other images than those in data.root", why, "model.weights=")
    assert sums(verified_copy / "run") == before


@pytest.mark.parametrize("verify", ["true", "false"])
def test_copied_images_are_the_same(verified_copy, verify):
    for path in (verified_copy / "data").rglob("*.jpg"):
        os.utime(path)
    result = resume_copy(verified_copy, f"data.verify={verify}")
    assert result.returncode == 0, result.stderr
    assert "their content" not in result.stderr
    assert read_state(verified_copy / "run" / "checkpoints" / "last").state.files.content


def test_images_of_unknown_content_are_a_warning(finished, demo_set, tmp_path, caplog):
    data = tmp_path / "data"
    shutil.copytree(demo_set, data)
    change_pixels(data, same_size=True)
    saved = read_state(finished / "checkpoints" / "last")
    assert saved.state.files.content is None, "it was not verified"
    table = read_table(data)
    files = table.image_files()
    check_same_sizes(saved, files)
    unread = PatchDataset(table, "train", saved.metadata.preprocess)
    assert identify_images(saved, files, [unread], workers=1) == files
    assert "modified or copied after" in caplog.text


def test_resume_of_a_run_that_an_older_version_began_trains(verified_copy):
    def older(state):
        del state["files"]
        state["schema"] = 1
        state["config"] = {OLD_KEYS.get(key, key): value for key, value in state["config"].items()}

    change_state(verified_copy / "run", older)
    stored = RunFolder(verified_copy / "run").config
    text = stored.read_text()
    for old, new in RENAMED_KEYS.items():
        text = text.replace(f" {new.partition('.')[2]}:", f" {old.partition('.')[2]}:")
    assert "initialisation: preset" in text
    stored.write_text(text)
    change_pixels(verified_copy / "data", same_size=False)  # which it cannot tell
    assert resume_copy(verified_copy).returncode == 0


def change_state(run, change):
    """Change `state.json` with all its checksums."""
    last = run / "checkpoints" / "last"
    model = read_model(last)
    state = json.loads(model.files["state.json"])
    change(state)
    files = {**model.files, "state.json": json.dumps(state).encode()}
    write_model(last, model.metadata, lambda folder: [(folder / name).write_bytes(files[name]) for name in files])


def change_arrays(run, name, change):
    last = run / "checkpoints" / "last"
    model = read_model(last)
    arrays = dict(np.load(io.BytesIO(model.files[name])))
    change(arrays)

    def fill(folder):
        for other, content in model.files.items():
            (folder / other).write_bytes(content)
        np.savez(folder / name, **arrays)

    write_model(last, model.metadata, fill)


def nested(state):
    deep = "x"
    for _ in range(300):
        deep = [deep]
    state["history"][0]["data"] = deep


@pytest.mark.parametrize("change", [
    lambda state: state["history"][0].update(epoch="x"),
    lambda state: state["history"][0].update(epoch=5),
    lambda state: state["history"][0].update(val_top1=[]),
    lambda state: state["history"][0].update(improved=7),
    lambda state: state["history"][0].update(learning_rate=None),
    lambda state: state["history"][0].pop("data"),
    lambda state: state["history"].append({}),
    lambda state: state["history"].append(1),
    lambda state: state.update(history={}),
    lambda state: state.update(epoch=0),
    lambda state: state.update(epoch=10**400),
    lambda state: state.update(step=-1),
    lambda state: state.update(step=999),
    lambda state: state.update(learning_rate=[0.1]),
    lambda state: state.update(files=["a"]),
    lambda state: state.update(callbacks={}),
    lambda state: state["callbacks"].update(RecordEpoch={"images": 1}),
    lambda state: state["callbacks"].update(LowerOnPlateau={"best": "low", "waited": 0}),
    lambda state: state["callbacks"].update(LowerOnPlateau={}),
    lambda state: state["config"].update({"model.kernels": ["paddle"]}),
    nested,
])  # fmt: skip
def test_a_state_of_other_types_with_right_checksums_is_one_line(finished, demo_set, change):
    change_state(finished, change)
    result = run_tool("train", "--resume", finished, "-o", "train.epochs=4")
    assert_user_error(result)
    assert "epoch 4" not in result.stdout


@pytest.mark.parametrize("change", [
    lambda arrays: arrays.update({name: value[:1] for name, value in arrays.items() if value.ndim == 4}),
    lambda arrays: arrays.update({name: value.astype(str) for name, value in arrays.items()}),
    lambda arrays: arrays.update(other=np.zeros(2, np.float32)),
])  # fmt: skip
def test_an_optimizer_s_arrays_that_do_not_fit_are_one_line(finished, change):
    change_arrays(finished, "optimizer.npz", change)
    result = run_tool("train", "--resume", finished, "-o", "train.epochs=4")
    assert_user_error(result, "optimizer.npz: is not the state of a run")


def test_an_average_that_is_not_finite_is_one_line(averaged, tmp_path):
    copy = shutil.copytree(averaged, tmp_path / "copy")
    change_arrays(copy, "average.npz", lambda arrays: next(iter(arrays.values())).fill(np.nan))
    result = run_tool("train", "--resume", copy, "-o", "train.epochs=4")
    assert_user_error(result, "average.npz: has NaN or infinity", "conv1 has")


def test_resume_of_a_folder_that_is_no_run_is_a_user_error(finished, tmp_path):
    assert_user_error(run_tool("train", "--resume", tmp_path / "nothing"), "is not a run; ")
    assert_user_error(run_tool("train", "--resume", finished, "-c", "paddle2"), "leave --config out")
    best = finished / "checkpoints" / "best"
    assert_user_error(
        run_tool("train", "--resume", best, "-o", "train.epochs=4"), "no state.json to resume from", "model.weights"
    )
    shutil.copytree(finished / "checkpoints" / "last", finished / "checkpoints" / "epoch-0002-step-0000000")
    truncate(finished / "checkpoints" / "last" / "optimizer.npz")
    result = run_tool("train", "--resume", finished, "-o", "train.epochs=4")
    assert_user_error(result, "optimizer.npz: is damaged", "an earlier state is", "epoch-0002-step")


def test_a_disk_that_fills_leaves_the_state_before_and_the_run_goes_on_from_it(straight, demo_set, tmp_path, capsys):
    """A limit on the size of files stands for the disk: weights do not fit, then figures do not."""
    output, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    train(config_of(demo_set, output, 2))
    before = sums(output)
    for limit in (1_000_000, 200):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(UserError, match=r"cannot write it .+; the old content is untouched"):
                train(config_of(demo_set, output, 3), resume=output)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sums(output) == before
        assert not list(output.rglob("*.partial"))
    train(config_of(demo_set, output, 3), resume=output)
    assert (sums(output), rows(output)) == (sums(straight), rows(straight))


def test_a_finished_run_s_state_says_so_and_what_was_counted(finished, demo_set):
    saved = read_state(finished / "checkpoints" / "last")
    assert saved.state.finished
    assert saved.state.callbacks["LowerOnPlateau"]["best"] == min(row["val_loss"] for row in saved.state.history)
    assert saved.state.callbacks["RecordEpoch"] == {}
    assert saved.metadata.origin.epoch == 3
    other = replace(saved.metadata.model, lrn="builtin")
    config = config_of(demo_set, finished, 9)
    with pytest.raises(UserError, match=rf"has another network .+; set model.lrn={saved.metadata.model.lrn}"):
        check_same_run(saved, config, saved.state.data, other)
    check_same_run(saved, config, saved.state.data, saved.metadata.model)


def test_a_run_that_is_moved_aside_keeps_everything(finished, caplog):
    with caplog.at_level(logging.INFO), RunFolder(finished).begin():
        pass
    aside = finished.with_name(f"{finished.name}.1")
    assert {place.name for place in (aside / "checkpoints").iterdir()} == {"best", "last"}
    assert read_state(aside / "checkpoints" / "last").state.finished
    size = sum(file.stat().st_size for file in aside.rglob("*") if file.is_file())
    assert f"kept as {aside} ({size / 1e6:.0f} MB); remove" in caplog.text


@pytest.mark.slow
def test_killed_at_random_moments(straight, demo_set, tmp_path):
    output = tmp_path / "run"
    program = [sys.executable, str(REPOSITORY / "tools" / "train.py")]
    settings = ["model.preset=small", "train.batch_size=8", "data.verify=false", "train.epochs=3", *CHANCE]
    settings += [f"data.root={demo_set}", f"output={output}", "train.checkpoint_steps=1"]
    first = [*program, "-c", "paddle2", *(word for setting in settings for word in ("-o", setting))]
    rng, kills = np.random.default_rng(), 0
    while True:
        begun = (output / "checkpoints" / "last").is_dir()
        if begun and read_state(output / "checkpoints" / "last").state.finished:
            break  # killed after its end, in the report
        command = [*program, "--resume", str(output)] if begun else first
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stamp = (output / "checkpoints" / "last").stat().st_mtime_ns if begun else None
        while process.poll() is None and (
            not (output / "checkpoints" / "last").is_dir()
            or stamp == (output / "checkpoints" / "last").stat().st_mtime_ns
        ):
            time.sleep(0.02)
        if kills == 8:
            assert process.wait() == 0
            break
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    logging.getLogger(__name__).info("killed %d times", kills)
    assert kills
    assert (sums(output), rows(output)) == (sums(straight), rows(straight))
