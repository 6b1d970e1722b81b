import resource

import pandas as pd
import pytest
from helpers import make_epoch
from PIL import Image

from paddle_alexnet import UserError
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.callbacks.recording import WriteMetrics
from paddle_alexnet.training.history import History


def test_the_table_holds_every_epoch_and_is_drawn(tmp_path):
    run, history = RunFolder(tmp_path / "run"), History()
    callback = WriteMetrics(run, history)
    for number in (1, 2):
        values = {"train_loss": 2 / 3, "val_loss": float("nan"), "improved": number == 1, "data": 'a, "b"'}
        history.epochs.append(make_epoch(number, **values))
        callback.on_eval_end({})
    text = run.metrics.read_text()
    assert text.splitlines()[1] == '1,0.666667,0.1,nan,0.5,0.0001,9.5,True,"a, ""b"""'
    table = pd.read_csv(run.metrics)
    assert list(table["epoch"]) == [1, 2]
    assert list(table["improved"]) == [True, False]
    assert table["val_loss"].isna().all()
    assert set(table["data"]) == {'a, "b"'}
    with Image.open(run.curves) as curves:
        assert curves.width > 500


def test_a_disk_that_fills_leaves_the_figures_before(tmp_path):
    """A limit on the size of files stands for the disk: of 20 bytes for the table, of 1,000 for the curves."""
    run, history = RunFolder(tmp_path / "run"), History()
    callback, limits = WriteMetrics(run, history), resource.getrlimit(resource.RLIMIT_FSIZE)
    history.epochs.append(make_epoch(1))
    callback.on_eval_end({})
    table, curves = run.metrics.read_bytes(), run.curves.read_bytes()
    history.epochs.append(make_epoch(2, improved=False))
    for limit, path in ((20, run.metrics), (1000, run.curves)):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(UserError, match=rf"^{path}: cannot write it \(.*File too large.*\); the old content"):
                callback.on_eval_end({})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert run.curves.read_bytes() == curves
        assert sorted(place.name for place in run.path.iterdir()) == ["curves.png", "metrics.csv"]
        if path == run.metrics:
            assert run.metrics.read_bytes() == table
