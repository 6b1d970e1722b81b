"""Which of a run's models answers for it."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Union

import paddle

from paddle_alexnet.inference.paddle_inference import runs_here
from paddle_alexnet.runs.model_folder import find_model, read_metadata
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.errors import UserError


def find_answering(path: Union[str, os.PathLike[str]]) -> Path:
    """The folder of the model that answers for a path, which `find_model` would find but for a run.

    For a run it is the exported model, two to three times as fast on a processor, where that is the best checkpoint's
    network in the same terms and runs here; elsewhere its kernels were not compared with the network's. Raises
    UserError if there is no model.
    """
    place = find_model(path)
    run = RunFolder(Path(path).expanduser().resolve())
    if place == run.best and paddle.device.get_device() == "cpu":
        with suppress(UserError):  # not exported, or being replaced
            best, exported = read_metadata(run.best), read_metadata(run.inference)
            same = replace(exported, kind=best.kind, model=best.model, sha256=best.sha256, proof=best.proof) == best
            if same and exported.kind == "inference" and runs_here(exported.sha256):
                return run.inference
    return place
