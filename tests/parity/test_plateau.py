"""`schedule.name=plateau` beside PyTorch's ReduceLROnPlateau, epoch by epoch."""

from types import SimpleNamespace

import pytest

from paddle_alexnet.training.schedules import LowerOnPlateau

pytestmark = pytest.mark.parity
# Falling, flat, worse, not a number, better again.
LOSSES = [
    3,
    2.5,
    2.5,
    2.6,
    2.4,
    2.4,
    2.4,
    2.4,
    2.4,
    2.4,
    float("nan"),
    2.3,
    2.3,
    2.3,
    2.3,
    2.2,
    2.9,
    2.9,
    2.9,
    2.9,
    2.9,
]


@pytest.mark.parametrize("patience", [0, 1, 2, 3, 5])
def test_the_rate_falls_after_the_same_epochs(patience):
    torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install -e ".[parity]"')
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=patience, threshold=0, eps=0)
    rates = [1.0]
    ours = LowerOnPlateau(factor=0.5, patience=patience)
    ours.set_model(SimpleNamespace(_optimizer=SimpleNamespace(get_lr=lambda: rates[-1], set_lr=rates.append)))
    for loss in LOSSES:
        scheduler.step(loss)
        ours.on_eval_end({"loss": loss})
        assert rates[-1] == theirs.param_groups[0]["lr"], loss
    assert len(rates) > 1
