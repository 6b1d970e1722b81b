import logging
import math
from types import SimpleNamespace

import paddle
import pytest
from helpers import make_epoch

from paddle_alexnet import UserError
from paddle_alexnet.training.callbacks.stopping import StopEarly, StopOnNaN, WarnOfNoProgress, first_not_finite
from paddle_alexnet.training.history import History

FIRST = make_epoch(train_loss=math.log(10), val_loss=math.log(10))


class Network(paddle.nn.Sequential):
    def named_layers(self):
        return [(SimpleNamespace(name=f"layer {name}"), layer) for name, layer in self.named_children()]


def guarded(network):
    guard = StopOnNaN(History([FIRST]), SimpleNamespace(position=7), learning_rate=0.5)
    guard.set_model(SimpleNamespace(network=network, _optimizer=SimpleNamespace(get_lr=lambda: 0.5)))
    guard.on_epoch_begin(0, {})
    return guard


def test_the_step_the_rate_and_the_layer_that_went_first_are_named():
    network = Network(paddle.nn.Linear(2, 2), paddle.nn.ReLU(), paddle.nn.Linear(2, 2))
    guard = guarded(network)
    network(paddle.ones([3, 2]))
    network[0].weight.set_value(paddle.full([2, 2], 3e38))
    network[2].weight.set_value(paddle.full([2, 2], math.nan))
    with pytest.raises(UserError) as error:
        network(paddle.ones([3, 2]))
    assert str(error.value) == (
        "epoch 2, step 7: the loss is not finite, first in the output of layer 0, because "
        "optimizer.learning_rate=0.5 is too high; lower it"
    )
    network(paddle.ones([3, 2]))  # it is off the network then
    guard.close()
    guard.on_train_batch_end(0, {"loss": 1.0})
    guard.model._optimizer.get_lr = lambda: 0.05
    said = r"although all outputs are, because optimizer\.learning_rate=0\.5 \(now 0\.05 by the schedule\) is too high"
    with pytest.raises(UserError, match=said):
        guard.on_train_batch_end(0, {"loss": math.inf})


def test_nan_check_between_epochs_is_off():
    network = paddle.nn.Linear(2, 2)
    guard = guarded(network)
    guard.on_epoch_end(0, {})
    network(paddle.full([1, 2], math.inf))


@pytest.mark.parametrize(("position", "when"), [(99, "on_epoch_end"), (100, "on_train_batch_end")])
def test_weights_whose_nan_the_answers_do_not_show_are_found(position, when):
    """Paddle's ReLU makes 0 of NaN."""
    network = Network(paddle.nn.Linear(2, 2), paddle.nn.ReLU(), paddle.nn.Linear(2, 2))
    guard = guarded(network)
    network[0].weight.set_value(paddle.full([2, 2], math.nan))
    assert paddle.isfinite(network(paddle.ones([3, 2]))).all()
    guard.loader.position = 99
    guard.on_train_batch_end(98, {"loss": 1.0})
    guard.loader.position = position
    with pytest.raises(UserError) as error:
        getattr(guard, when)(position - 1, {"loss": 1.0})
    assert str(error.value) == (
        f"epoch 2, step {position}: the weights of layer 0 are not finite, because optimizer.learning_rate=0.5 is "
        "too high; lower it"
    )


@pytest.mark.parametrize(("image", "weight", "where"), [
    (math.nan, 1.0, "the images"),
    (1.0, math.inf, "the weights of layer 0"),
])  # fmt: skip
def test_images_and_weights_are_looked_at_first(image, weight, where):
    network = Network(paddle.nn.Linear(2, 2))
    network[0].weight.set_value(paddle.full([2, 2], weight))
    assert first_not_finite(network, paddle.full([1, 2], image)) == where


def warnings(caplog, train_loss, val_loss, *, steps=100):
    history = History([make_epoch(train_loss=train_loss, val_loss=val_loss)])
    callback = WarnOfNoProgress(history, range(steps), 10)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        callback.on_eval_end({})
        callback.on_eval_end({})
    return caplog.messages


def test_a_loss_that_stays_at_guessing_is_said_once_with_its_likely_cause(caplog):
    guess = math.log(10)
    assert not warnings(caplog, 2.0, guess)
    assert not warnings(caplog, guess, guess, steps=99), "too early to tell"
    (dead,) = warnings(caplog, guess + 0.01, guess + 1e-4)
    assert "2.313 is that of guessing among 10 classes" in dead
    assert "the same prediction" in dead
    (shuffled,) = warnings(caplog, guess, 2.6)
    assert "labels do not match their images" in shuffled


def test_patience_is_counted_from_the_best_epoch():
    history = History()
    callback = StopEarly(history, patience=2)
    callback.set_model(SimpleNamespace(stop_training=False))
    stopped = []
    for number, improved in enumerate([True, False, True, False, False], start=1):
        history.epochs.append(make_epoch(number, improved=improved))
        callback.on_eval_end({})
        stopped.append(callback.model.stop_training)
    assert stopped == [False, False, False, False, True]
