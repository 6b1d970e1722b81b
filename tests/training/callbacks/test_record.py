from types import SimpleNamespace

import pytest

from paddle_alexnet.training.callbacks import record
from paddle_alexnet.training.callbacks.record import RecordEpoch
from paddle_alexnet.training.history import History


def test_an_epoch_is_recorded_with_its_own_losses_rate_and_speed(monkeypatch):
    """`fit` hands the same dictionary to training and evaluation, and lowers the rate before it evaluates."""
    now, history, rates = [0.0], History(), iter([0.1, 0.01, 0.01])
    monkeypatch.setattr(record, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    callback = RecordEpoch(history, data="photographs")
    callback.set_model(SimpleNamespace(_optimizer=SimpleNamespace(get_lr=lambda: next(rates))))
    for epoch, val_loss in enumerate([2.0, float("nan"), 1.0]):
        logs = {}
        callback.on_epoch_begin(epoch, logs)
        for step, size in enumerate((8, 2)):
            logs.update(batch_size=size, loss=3.0 - epoch, top1=0.25)
            callback.on_train_batch_end(step, logs)
        now[0] += 5
        callback.on_epoch_end(epoch, logs)
        now[0] += 100  # of validation
        logs.update(loss=val_loss, top1=0.5)
        callback.on_eval_end(logs)
    assert [epoch.train_loss for epoch in history.epochs] == [3, 2, 1]
    assert [epoch.improved for epoch in history.epochs] == [True, False, True]
    assert [epoch.learning_rate for epoch in history.epochs] == [0.1, 0.01, 0.01]
    assert [epoch.images_per_second for epoch in history.epochs] == pytest.approx([2, 2, 2])
    assert (history.last.epoch, history.last.val_loss, history.last.val_top1, history.last.train_top1) == (
        3,
        1,
        0.5,
        0.25,
    )
    assert history.last.data == "photographs"
