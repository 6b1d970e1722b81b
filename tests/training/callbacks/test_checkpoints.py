import io
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
from helpers import make_epoch

from paddle_alexnet.data.classes import ClassList
from paddle_alexnet.data.preprocess import Preprocess
from paddle_alexnet.exporting import exporter
from paddle_alexnet.network.presets import ModelSpec
from paddle_alexnet.runs.checkpoint import read_pdparams
from paddle_alexnet.runs.metadata import Metadata, Origin
from paddle_alexnet.runs.model_folder import read_model
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.training.callbacks.checkpoints import SaveModels
from paddle_alexnet.training.history import History

FIRST = make_epoch()


def test_best_and_export_are_of_the_epochs_that_improved(tmp_path, monkeypatch):
    exported = []

    @contextmanager
    def exporting_network(network, metadata, place, *, aside):
        yield 0.0
        exported.append((metadata.origin.epoch, place))

    monkeypatch.setattr(exporter, "exporting_network", exporting_network)
    preprocess = Preprocess(227, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    spec = ModelSpec("half", 2, "none")
    metadata = Metadata(spec, ClassList(("cat", "dog"), (None, None)), preprocess, Origin("photographs"))
    run, network = RunFolder(tmp_path / "run"), paddle.nn.Linear(1, 1)
    history = History()
    callback = SaveModels(run, network, metadata, history)
    callback.set_model(SimpleNamespace(_optimizer=None))
    epochs = [
        FIRST,
        replace(FIRST, epoch=2, val_loss=float("nan"), improved=False),
        replace(FIRST, epoch=3, val_loss=1.0),
    ]
    for epoch in epochs:
        network.bias.set_value(np.array([epoch.epoch], np.float32))
        history.epochs.append(epoch)
        callback.on_eval_end({})
        best = read_model(run.best)
        improved = max(e.epoch for e in history.epochs if e.improved)
        assert best.metadata.origin.epoch == improved
        assert read_pdparams(io.BytesIO(best.files["weights.pdparams"]), source=run.best)["bias"] == improved
    assert best.metadata.origin.val_loss == 1.0
    assert exported == [(1, run.inference), (3, run.inference)]
