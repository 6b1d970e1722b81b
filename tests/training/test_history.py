from paddle_alexnet.training.history import Epoch, History


def test_the_best_is_the_last_that_improved():
    def epoch(number, improved):
        return Epoch(number, 1.0, 0.5, 1.0, 0.5, 0.1, 10.0, improved, "photographs")

    assert History().best is None
    assert History([epoch(1, False)]).best is None
    history = History([epoch(1, True), epoch(2, True), epoch(3, False)])
    assert (history.best.epoch, history.last.epoch) == (2, 3)
