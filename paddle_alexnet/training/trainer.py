"""The function `train`: prepare, open the data, compile, restore, fit."""

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
from paddle_alexnet.data.dataset import table_of_sets
from paddle_alexnet.data.pipeline import open_loaders
from paddle_alexnet.data.table import ImageTable
from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import user_path
from paddle_alexnet.training.callback_order import build_callbacks
from paddle_alexnet.training.distributed import first_before_others, parallel, rank, ranks
from paddle_alexnet.training.history import Epoch
from paddle_alexnet.training.model import compile_model
from paddle_alexnet.training.setup import prepare_run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """The results of a run: its folder, all epochs, and the one with the lowest mean validation loss."""

    output: Path
    history: tuple[Epoch, ...]
    best: Optional[Epoch]
    visualdl: Optional[Path]  # folder of the log, if VisualDL is usable
    val_images: int  # number of images behind the validation means


def train(
    config: Config,
    *,
    train_set: Optional[paddle.io.Dataset] = None,
    val_set: Optional[paddle.io.Dataset] = None,
    callbacks: Sequence[Callback] = (),
    resume: Optional[Union[str, os.PathLike[str]]] = None,
) -> Results:
    """Train a network, and save and export it whenever the mean validation loss improves.

    Ctrl-C and SIGTERM stop the run after the current step is saved. Processes of `paddle.distributed.launch` train
    together; only rank 0 writes files and shows progress.

    Args:
        config: The settings, see `load_config`.
        train_set: Your own data set of (image, label); default: the configured one. An image is a path, the bytes of a
            file, a Pillow image or an array, uint8 [H, W, 3], RGB; a label is an int from 0. Its attribute `classes`
            names the classes. Threads read it; augmentation, `data.cache` (none or ram) and resuming work as for files.
        val_set: Your own validation set; give both sets or none.
        callbacks: Your own Paddle callbacks. Every rank calls them; their `on_eval_end` is called before the epoch is
            saved. The run saves and restores callbacks that have `state_dict` and `set_state_dict`.
        resume: A run folder, to resume from its newest state, or one of its checkpoints. A resumed run is
            bit-identical to an uninterrupted one.

    Raises:
        UserError: A setting, the data or the environment is wrong; before the first step whenever possible.
    """
    given = _table_of(config, train_set, val_set)
    with paddle.utils.unique_name.guard(), parallel(config) as device:  # the same parameter names each time
        run = prepare_run(config, device=device, resume=None if resume is None else user_path(resume), given=given)
        with first_before_others():  # checks, caches and measures the images
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
        run.initial = run.saved = None  # free their arrays
        history, epochs = called.history, config.train.epochs
        with run.folder.begin(resume=run.resumed) if rank() == 0 else nullcontext(), called.active():
            left = epochs - len(history.epochs)  # `fit` counts from 0, callbacks from the history
            model.fit(train_loader, val_loader, epochs=left, verbose=0, callbacks=called.ordered)
    if len(history.epochs) < epochs:
        _log.info(f"stopped early, after {config.train.patience} epochs without a better validation loss")
    log = run.folder.visualdl if run.folder.visualdl.is_dir() else None
    return Results(run.folder.path, tuple(history.epochs), history.best, log, len(val_loader.dataset))


def _table_of(
    config: Config, train_set: Optional[paddle.io.Dataset], val_set: Optional[paddle.io.Dataset]
) -> Optional[ImageTable]:
    if train_set is None and val_set is None:
        return None
    if train_set is None or val_set is None:
        raise UserError(
            f"{'train_set' if train_set is None else 'val_set'}: not found beside the other; give both sets"
        )
    if config.data.root or config.data.csv or config.data.classes:
        raise UserError("train_set: data.root, data.csv or data.classes is set too; give the one or the other")
    return table_of_sets(train_set, val_set)
