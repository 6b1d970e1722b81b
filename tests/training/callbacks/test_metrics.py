import pandas as pd
from PIL import Image

from paddle_alexnet.runs.folder import RunFolder
from paddle_alexnet.training.callbacks.metrics import WriteMetrics
from paddle_alexnet.training.history import Epoch, History


def test_the_table_holds_every_epoch_and_is_drawn(tmp_path):
    run, history = RunFolder(tmp_path / "run"), History()
    callback = WriteMetrics(run, history)
    for number in (1, 2):
        history.epochs.append(Epoch(number, 2 / 3, 0.1, float("nan"), 0.5, 1e-4, 9.5, number == 1, 'a, "b"'))
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
