"""The folder of a training run: where everything in it lies, and how a run begins."""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Optional, Union

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import free_name, lock, remove_left_behind
from paddle_alexnet.system.user_path import user_path

_log = logging.getLogger(__name__)

_EARLIER = r"epoch-\d{4,}-step-\d{7,}"  # the name of a state that is kept


class RunFolder:
    """The paths in a run's folder."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        path = user_path(path)
        self.path = path if path.name not in ("", "..") else path.resolve()
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.curves = self.path / "curves.png"
        self.environment = self.path / "environment.json"  # what computed it
        self.validation = self.path / "validation"  # what the best model answers for the validation images
        self.report = self.path / "report.html"
        self.visualdl = self.path / "visualdl"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best"  # of the epoch with the lowest mean validation loss
        self.last = self.checkpoints / "last"  # the newest state, to go on from
        self.inference = self.path / "inference"  # the exported model of `best`
        self.onnx = self.path / "onnx"  # the same as an ONNX file, where that was asked for
        self._lock = self.path / ".lock"

    def earlier(self) -> list[Path]:
        """The states that are kept under names of their own, oldest first, where more than the newest is kept."""
        states = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return [path for path in states if re.fullmatch(_EARLIER, path.name) and (path / "metadata.json").is_file()]

    def files(self) -> tuple[Path, ...]:
        """The files that a run writes beside its folders."""
        return self.config, self.metrics, self.curves, self.environment, self.report

    def is_run(self) -> bool:
        """Whether there is a run here, however far it came, known by what no other program writes."""
        if not self.path.is_dir():
            return False
        from paddle_alexnet.config.recipe import DATA_COMMENT  # both imports take time
        from paddle_alexnet.runs.metadata import is_ours

        if _beginning(self.config).startswith(f"# {DATA_COMMENT} ".encode()):
            return True
        with suppress(OSError, ValueError, RecursionError):
            found = json.loads(_beginning(self.environment, 100_000))
            if isinstance(found, dict) and {"device", "processor", "threads", "command"} <= found.keys():
                return True
        models = (self.best, self.last, *self.earlier())
        return any(is_ours(_beginning(model / "metadata.json")) for model in models) or self._has_only_begun()

    def _has_only_begun(self) -> bool:
        """Whether nothing is here but what a run makes before it writes its config."""
        half = re.compile(rf"\.({self._written()})\.[0-9a-f]{{8}}\.partial")
        rest = [path for path in self._entries() if not half.fullmatch(path.name)]
        return (
            rest == [self.checkpoints]
            and self.checkpoints.is_dir()
            and all(half.fullmatch(path.name) for path in self.checkpoints.iterdir())
        )

    def _entries(self) -> list[Path]:
        """What is in the folder, but for the lock, which is empty."""
        lock = self._lock
        return [path for path in self.path.iterdir() if path != lock or path.is_symlink() or os.path.getsize(path)]

    def _written(self) -> str:
        """A regular expression for the names of what a run writes whole, beside which a killed one leaves its half."""
        folders = (self.validation, self.best, self.last, self.inference, self.onnx)
        return "|".join([*(re.escape(path.name) for path in (*self.files(), *folders)), _EARLIER])

    def is_being_written(self) -> bool:
        """Whether a run that lives is writing here, as far as that can be told."""
        try:
            held = lock(self._lock, shared=True)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        if held is not None:
            os.close(held)
        return False

    def check(self) -> None:
        """Raise UserError if `begin` would, as far as that can be told without changing anything."""
        try:
            if not self.is_run():
                self._refuse_foreign()
            elif self._lock.exists() and (held := self._acquire()) is not None:
                os.close(held)
            nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
            if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
                raise OSError(f"{nearest} is not a folder that can be written")
        except OSError as error:
            raise self._unwritable(error) from None

    @contextmanager
    def begin(self, *, resume: bool = False) -> Iterator[None]:
        """Make the folder, and keep it locked while this run lives; with `resume`, go on in it as it is.

        Without, an earlier run in it is moved aside.

        Raises UserError if another run is writing it, if it cannot be written, or if it holds what is no run's.
        """
        try:
            if not resume:
                if self.is_run():
                    self._move_aside()
                self._refuse_foreign()
            self.path.mkdir(parents=True, exist_ok=True)
            held = self._acquire()
            self.checkpoints.mkdir(exist_ok=resume)
            self._remove_left_behind()
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            self._release(held)

    def _refuse_foreign(self) -> None:
        if self.path.is_dir() and (others := self._entries()):
            raise UserError(
                f"{self.path}: holds files that are not a run's ({others[0].name}): name another folder as output"
            )

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: cannot write there ({error}): name another folder as output")

    def _move_aside(self) -> None:
        held = self._acquire()
        kept = free_name(self.path)
        self._remove_left_behind()
        self.path.rename(kept)
        RunFolder(kept)._release(held)
        size = sum(path.stat().st_size for path in kept.rglob("*") if os.path.isfile(path)) / 1e6
        _log.info(
            f"{self.path} held an earlier run: kept as {kept} ({size:.0f} MB; remove that folder if you do not need it)"
        )

    def _remove_left_behind(self) -> None:
        """Remove what a killed run was writing."""
        for folder in (self.path, self.checkpoints):
            if folder.is_dir():
                remove_left_behind(folder, self._written())

    def _acquire(self) -> Optional[int]:
        """Lock the folder, see `files.lock`. Raises UserError if another run has it."""
        while True:
            self._lock.touch()
            with suppress(FileNotFoundError):  # another run has just ended, and removed it
                try:
                    return lock(self._lock)
                except BlockingIOError:
                    raise UserError(
                        f"{self.path}: another run is writing it: wait for it, or name another folder"
                    ) from None

    def _release(self, held: Optional[int]) -> None:
        with suppress(OSError):
            if not self._lock.stat().st_size:  # else it is somebody else's
                self._lock.unlink()
        if held is not None:
            os.close(held)


def _beginning(path: Path, size: int = 4096) -> bytes:
    """Return the first bytes of a regular file, none if that cannot be read."""
    with suppress(OSError):
        if os.path.isfile(path):
            with path.open("rb") as stream:
                return stream.read(size)
    return b""


def run_of(path: Path) -> Path:
    """The folder of the run that a path to it, or to a checkpoint in it, means."""
    path = user_path(path)
    place = path.resolve()
    inside = place.parent.name == "checkpoints" and not (place / "checkpoints").is_dir()
    return place.parent.parent if inside else path
