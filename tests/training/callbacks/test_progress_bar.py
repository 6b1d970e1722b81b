import io
from types import SimpleNamespace

import paddle
import pytest
from helpers import make_epoch

from paddle_alexnet import AlexNet
from paddle_alexnet.training.callbacks import progress_bar as progress
from paddle_alexnet.training.callbacks.progress_bar import Progress, ShowEpoch, seconds_per_image
from paddle_alexnet.training.history import History


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "81")  # of which tqdm leaves one free
    monkeypatch.setenv("LINES", "24")
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    return terminal


@pytest.fixture
def clock(monkeypatch):
    """The time that the callbacks see, in seconds, for tests to move."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


@pytest.fixture(autouse=True)
def half_a_second_for_an_image(monkeypatch):
    monkeypatch.setattr(progress, "seconds_per_image", lambda network: 0.5)


def begin(epochs, steps):
    loader = SimpleNamespace(dataset=range(8 * steps), batch_size=8, first=0, position=0)
    callback = Progress(History(), loader, epochs=epochs, val_images=20)
    callback.set_params({"epochs": epochs, "steps": steps})
    callback.set_model(SimpleNamespace(network=None))
    callback.on_train_begin({})
    return callback


def batch(callback, step):
    callback.loader.position = step + 1
    callback.on_train_batch_end(step, {"batch_size": 8, "loss": 2.34567, "top1": 0.125})


@pytest.mark.parametrize(
    ("epochs", "said"), [(1, "80 seconds"), (10, "14 minutes"), (90, "2.0 hours")]
)  # 3 × 48 images a training epoch and 20 of validation
def test_how_long_it_will_take_is_said_before_the_first_step(capsys, epochs, said):
    begin(epochs=epochs, steps=6)
    assert capsys.readouterr().out == f"estimated training time: {said}\n"


def test_the_time_of_an_image_is_measured_without_a_random_number_and_leaves_the_network_training():
    network = AlexNet("small", 10)
    network.train()
    paddle.seed(1)
    drawn = paddle.rand([3]).tolist()
    paddle.seed(1)
    assert 0 < seconds_per_image(network) < 10
    assert network.training and all(layer.training for layer in network.sublayers())
    assert paddle.rand([3]).tolist() == drawn


def test_the_bar_fits_80_columns_and_is_wide_enough_to_read(terminal, clock):
    callback = begin(epochs=90, steps=100)
    callback.on_epoch_begin(0, {})
    for step in range(50):
        clock[0] += 1
        batch(callback, step)
    callback.bar.refresh()
    shown = terminal.getvalue().split("\r")[-1]
    callback.close()
    assert "loss 2.3457 top1 0.125 8.0/s 00:50 left, run 2:29:10" in shown
    assert len(shown) <= 80
    bar = shown.split("|")[1]
    assert len(bar) >= 10
    assert bar.count("█") == pytest.approx(len(bar) / 2, abs=1)


def test_interrupted_progress_bar_leaves_an_empty_line(terminal, clock):
    callback = begin(epochs=2, steps=4)
    callback.on_epoch_begin(0, {})
    clock[0] += 1
    batch(callback, 0)
    callback.close()
    callback.close()
    assert terminal.getvalue().endswith("\r")
    assert not terminal.getvalue().rstrip("\r").split("\r")[-1].strip()


def test_validation_is_shown(terminal, clock):
    callback = begin(epochs=2, steps=4)
    callback.on_epoch_begin(0, {})
    callback.on_epoch_end(0, {})
    callback.on_eval_begin({})
    callback.on_eval_batch_end(0, {"batch_size": 8})
    callback.bar.refresh()
    assert terminal.getvalue().split("\r")[-1].startswith("epoch 1/2 validation |")
    assert terminal.getvalue().rstrip().endswith("| 8/20")
    callback.on_eval_end({})
    assert not terminal.getvalue().rstrip("\r").split("\r")[-1].strip()


def test_the_time_left_in_the_run_counts_validation_and_saving_of_the_epochs_before(clock, capsys):
    callback = begin(epochs=4, steps=4)
    for epoch in (0, 1):
        callback.on_epoch_begin(epoch, {})
        for step in range(4):
            clock[0] += 10
            batch(callback, step)
        callback.on_epoch_end(epoch, {})
        clock[0] += 60  # of validation and saving
        callback.on_eval_begin({})
        callback.on_eval_batch_end(0, {"batch_size": 8})
        callback.on_eval_end({})
        callback.history.epochs.append(None)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 8
    # In the first epoch only the speed is known: 4 of them take 160 s. In the second, that one takes 100 s.
    assert lines[0] == "epoch 1/4  8/32  loss 2.3457 top1 0.125  0.8 images/s  00:30 left, run 02:30"
    assert lines[4] == "epoch 2/4  8/32  loss 2.3457 top1 0.125  0.8 images/s  00:30 left, run 04:50"


def test_the_result_of_an_epoch_fits_80_columns_and_says_what_became_of_it(clock, capsys):
    history = History()
    callback = ShowEpoch(history, epochs=10)
    callback.on_train_begin({})
    for number, val_loss, improved in ((1, 2.5, True), (2, 3.5, False), (10, 1.25, True)):
        clock[0] = number * 30
        history.epochs.append(make_epoch(number, val_loss=val_loss, improved=improved))
        callback.on_eval_end({})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [
        "epoch 1/10  train_loss 2.0000 train_top1 0.100  val_loss 2.5000 val_top1 0.500",
        "  val_loss improved from inf to 2.5000, exported  9.5 images/s  04:30 left",
        "epoch 2/10  train_loss 2.0000 train_top1 0.100  val_loss 3.5000 val_top1 0.500",
        "  val_loss did not improve on 2.5000  9.5 images/s  04:00 left",
        "epoch 10/10  train_loss 2.0000 train_top1 0.100  val_loss 1.2500 val_top1 0.500",
        "  val_loss improved from 2.5000 to 1.2500, exported  9.5 images/s  00:00 left",
    ]


def test_without_a_terminal_nothing_but_the_lines_is_written(clock, capsys):
    callback = begin(epochs=1, steps=1)
    callback.on_epoch_begin(0, {})
    clock[0] += 1
    batch(callback, 0)
    callback.on_epoch_end(0, {})
    assert capsys.readouterr().err == ""


def test_a_run_that_goes_on_counts_from_where_it_stood(clock, capsys):
    callback = begin(epochs=4, steps=4)
    callback.history.epochs.extend([None, None])
    callback.loader.first = 2
    callback.on_train_begin({})
    callback.on_epoch_begin(0, {})
    clock[0] += 10
    batch(callback, 2)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "epoch 3/4  24/32  loss 2.3457 top1 0.125  0.8 images/s  00:10 left, run 00:50"
