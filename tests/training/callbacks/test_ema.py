from types import SimpleNamespace

import numpy as np
import pytest
from helpers import OneLayer
from rounding import FEW

from paddle_alexnet.training.callbacks.ema import AverageWeights


def test_the_average_is_of_each_update_and_lent_to_the_evaluation():
    network = OneLayer(weight=0, bias=1)
    average = AverageWeights(network, decay=0.4)
    average.set_model(SimpleNamespace(updated=True))
    average.on_train_begin({})
    expected = 0.0
    for update, weight in enumerate([1.0, 3.0, 2.0, 5.0, 7.0, 4.0], start=1):
        network.weight.set_value(np.full((1, 1), weight, np.float32))
        decay = min(0.4, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weight
        average.on_train_batch_end(0, {})
    average.set_model(SimpleNamespace(updated=False))
    average.on_train_batch_end(0, {})
    average.on_eval_begin({})
    assert network.weight.item() == pytest.approx(expected, rel=FEW) != 4
    assert network.bias.item() == pytest.approx(1, rel=FEW)
    assert average.trained["weight"].item() == 4
    average.on_eval_end({})
    assert network.weight.item() == 4
    assert average.trained is None
    assert average.state_dict() == {"updates": 6}
