"""Resolution of a model's path, once per subcommand."""

import logging
import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Union

from paddle_alexnet.runs.metadata import Metadata
from paddle_alexnet.runs.model_folder import find_model, read_metadata
from paddle_alexnet.runs.run_folder import RunFolder
from paddle_alexnet.system.errors import UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedModel:
    """The model of a path, and the other models of its run."""

    named: Path  # as the user named it
    folder: Path  # of the model: a run's best checkpoint, or the named one
    metadata: Metadata  # of `folder`
    run: Optional[RunFolder]
    siblings: Mapping[Path, Metadata]  # the run's existing best checkpoint and exports

    @property
    def names_run(self) -> bool:
        """Whether the path names a run, not one of its models."""
        return self.run is not None and self.folder == self.run.best and self.named.resolve() == self.run.path

    @property
    def export(self) -> Optional[Path]:
        """The run's exported model, if it was exported from the best checkpoint with the same metadata."""
        if self.run is None or not {self.run.best, self.run.inference} <= self.siblings.keys():
            return None
        best, exported = self.siblings[self.run.best], self.siblings[self.run.inference]
        same = replace(exported, kind=best.kind, model=best.model, sha256=best.sha256, proof=best.proof) == best
        return self.run.inference if same and exported.kind == "inference" else None

    def checkpoint_of(self, folder: Path) -> Optional[Path]:
        """Return the checkpoint with the weights of `folder`, which is `self.folder` or a sibling."""
        metadata = self.metadata if folder == self.folder else self.siblings[folder]
        if metadata.kind == "checkpoint":
            return folder
        best = self.siblings.get(self.run.best) if self.run else None
        if best is None or self.run is None or folder not in (self.run.inference, self.run.onnx):
            return None
        theirs, its = best.origin, metadata.origin
        return self.run.best if (theirs.epoch, theirs.val_loss) == (its.epoch, its.val_loss) else None


def resolve_model(path: Union[str, os.PathLike[str], ResolvedModel]) -> ResolvedModel:
    """Resolve the path of a run, a checkpoint, an exported model, or a file in one of them.

    Log a warning if the run's best checkpoint and an exported model are of different epochs, as after a kill.

    Raises:
        UserError: There is no model, or its metadata is damaged.
    """
    if isinstance(path, ResolvedModel):
        return path
    folder = find_model(path)
    metadata = read_metadata(folder)
    siblings: dict[Path, Metadata] = {}
    run = next((run for run in map(RunFolder, (folder.parent.parent, folder.parent)) if folder in _models(run)), None)
    for place in _models(run) if run else ():
        with suppress(UserError):  # missing, or being replaced
            siblings[place] = metadata if place == folder else read_metadata(place)
    if run:
        _warn_of_epochs(run, folder, siblings)
    return ResolvedModel(Path(path).expanduser(), folder, metadata, run, siblings)


def _models(run: RunFolder) -> tuple[Path, ...]:
    return run.best, run.inference, run.onnx


def _warn_of_epochs(run: RunFolder, folder: Path, siblings: Mapping[Path, Metadata]) -> None:
    for export, how in ((run.inference, ""), (run.onnx, " --to onnx")):
        if folder not in (run.best, export) or not {run.best, export} <= siblings.keys():
            continue
        best, exported = (siblings[model].origin.epoch for model in (run.best, export))
        if best != exported and not run.is_being_written():
            _log.warning(
                f"{export} is of epoch {exported}, the best checkpoint of epoch {best}; "
                f"export it with `paddle-alexnet export {shlex.quote(str(run.path))}{how}`"
            )
