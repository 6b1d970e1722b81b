from helpers import make_epoch

from paddle_alexnet.training.history import History


def test_best_epoch_is_the_last_that_improved():
    assert History().best is None
    assert History([make_epoch(1, improved=False)]).best is None
    history = History([make_epoch(number, improved=number < 3) for number in (1, 2, 3)])
    assert (history.best.epoch, history.last.epoch) == (2, 3)
