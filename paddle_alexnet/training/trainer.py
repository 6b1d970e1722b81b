"""Training as one function: prepare, open the data, compile, restore, fit."""

import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import paddle
from paddle.callbacks import Callback

from paddle_alexnet.config.schema import Config
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.training.callback_order import build_callbacks
from paddle_alexnet.training.distributed import first_before_others, parallel, rank, ranks
from paddle_alexnet.training.history import Epoch
from paddle_alexnet.training.model import compile_model
from paddle_alexnet.training.setup import prepare_run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """The outcome of a run: its folder, every epoch, and the one with the lowest mean validation loss."""

    output: Path
    history: tuple[Epoch, ...]
    best: Optional[Epoch]
    visualdl: Optional[Path]  # the folder of its log, if VisualDL could be used
    val_images: int  # of which the validation figures are means


def train(
    config: Config, *, callbacks: Sequence[Callback] = (), resume: Optional[Union[str, os.PathLike[str]]] = None
) -> Results:
    """Train a network as a recipe says; export it each time the mean validation loss improves.

    Ctrl-C and SIGTERM stop the run as soon as the step that is under way is saved. In one of several processes that
    `paddle.distributed.launch` has started, train together with the others; rank 0 alone writes and shows the run.

    Args:
        config: The recipe, see `load_config`.
        callbacks: Paddle callbacks of your own. They are called on every rank, in `on_eval_end` before the epoch is
            saved. Those with `state_dict` and `set_state_dict` are saved and restored with the run.
        resume: The folder of a run or a checkpoint in it. The run resumes from its newest state or from that one, and
            is bit-identical to one that was never interrupted.

    Raises:
        UserError: Something that a user can fix, before the first step if it can be known then.
    """
    with paddle.utils.unique_name.guard(), parallel(config) as device:  # a second run here names its parameters alike
        run = prepare_run(config, device=device, resume=None if resume is None else Path(resume))
        with first_before_others():  # images are checked, cached and measured
            train_loader, val_loader = open_loaders(
                run.config,
                run.table,
                run.network.image_size,
                on_device=device.startswith("gpu"),
                rank=rank(),
                ranks=ranks(),
            )
            run.identify_images(train_loader.dataset, val_loader.dataset)
        if run.initial is not None:
            run.initial.set(run.network, train_loader)
        model = compile_model(run.config, run.network, run.rules, train_loader)
        called = build_callbacks(run, model, train_loader, val_loader, callbacks)
        if run.saved is not None:
            called.live.restore(run.saved)
        run.initial = run.saved = None  # and the memory that their arrays take
        history, epochs = called.history, config.train.epochs
        with run.folder.begin(resume=run.resumed) if rank() == 0 else nullcontext(), called.active():
            left = epochs - len(history.epochs)  # `fit` counts from 0, the callbacks by the history
            model.fit(train_loader, val_loader, epochs=left, verbose=0, callbacks=called.ordered)
    if len(history.epochs) < epochs:
        _log.info(f"stopped early: {config.train.patience} epochs without a better validation loss")
    log = run.folder.visualdl if run.folder.visualdl.is_dir() else None
    return Results(run.folder.path, tuple(history.epochs), history.best, log, len(val_loader.dataset))
