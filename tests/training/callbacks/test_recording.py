import json
from types import SimpleNamespace

import numpy as np
import pytest

from paddle_alexnet.evaluation.metrics import MeanLoss
from paddle_alexnet.training.callbacks import recording as record
from paddle_alexnet.training.callbacks.recording import RecordEpoch
from paddle_alexnet.training.history import History


def test_an_epoch_is_recorded_with_its_own_losses_rate_and_speed(monkeypatch):
    """`fit` hands the same dictionary to training and evaluation, and lowers the rate before it evaluates."""
    now, history, rates = [0.0], History(), iter([0.1, 0.01, 0.01])
    monkeypatch.setattr(record, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    callback = RecordEpoch(history, data="photographs")
    callback.set_model(SimpleNamespace(_optimizer=SimpleNamespace(get_lr=lambda: next(rates)), _metrics=[]))
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


def test_an_epoch_that_goes_on_is_recorded_as_one(monkeypatch):
    """Its means are over all of its images, its speed is that of both parts."""
    now, history = [100.0], History()
    monkeypatch.setattr(record, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def begin():
        callback, loss = RecordEpoch(history, data="photographs"), MeanLoss()
        callback.set_model(SimpleNamespace(_optimizer=SimpleNamespace(get_lr=lambda: 0.1), _metrics=[loss]))
        return callback, loss

    def batch(callback, loss, *losses):
        mean = loss.update(np.array(losses))
        callback.on_train_batch_end(0, {"loss": mean, "top1": 0.5, "batch_size": len(losses)})

    first, loss = begin()
    first.on_epoch_begin(0, {})
    batch(first, loss, 1.0, 2.0, 3.0)
    now[0] += 5
    state = json.loads(json.dumps(first.state_dict(), default=float))
    now[0] += 1000
    second, loss = begin()
    second.set_state_dict(state)
    second.on_epoch_begin(0, {})
    batch(second, loss, 10.0)
    now[0] += 3
    second.on_epoch_end(0, {})
    second.on_eval_end({"loss": 1.0, "top1": 1.0})
    assert (history.last.train_loss, history.last.images_per_second) == (4.0, 0.5)
    assert second.state_dict() == {}, "the next epoch begins anew"

    third, loss = begin()  # stopped after the last batch, before the validation
    third.set_state_dict({**state, "train": [2.0, 0.25]})
    third.on_epoch_begin(0, {})
    third.on_epoch_end(0, {})
    third.on_eval_end({"loss": 1.0, "top1": 1.0})
    assert (history.last.train_loss, history.last.train_top1) == (2.0, 0.25)
