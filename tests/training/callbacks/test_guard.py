import pytest

from paddle_alexnet import UserError
from paddle_alexnet.training.callbacks.guard import StopOnNaN


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_epoch_and_step(loss):
    guard = StopOnNaN()
    guard.on_epoch_begin(2, {})
    guard.on_train_batch_end(0, {"loss": 4.5})
    with pytest.raises(UserError, match=f"became {loss} in epoch 3, step 8: lower optimizer.learning_rate"):
        guard.on_train_batch_end(7, {"loss": loss})
