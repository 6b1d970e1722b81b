"""The folder of a training run: where everything in it lies, and how a run begins."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

from paddle_alexnet.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)


class RunFolder:
    """The paths in a run's folder."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        path = Path(path).expanduser()
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
        return sorted(self.checkpoints.glob("epoch-*"))

    def is_run(self) -> bool:
        """Whether there is a run here, however far it came."""
        return self.config.is_file() or self.checkpoints.is_dir()

    def is_being_written(self) -> bool:
        """Whether a run that lives is writing here, as far as that can be told."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        finally:
            os.close(lock)
        return False

    def check(self) -> None:
        """Raise UserError if `begin` would, as far as that can be told without changing anything."""
        try:
            if not self.is_run():
                self._refuse_foreign()
            elif self._lock.exists():
                os.close(self._acquire())
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
            lock = self._acquire()
            self.checkpoints.mkdir(exist_ok=resume)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            os.close(lock)

    def _refuse_foreign(self) -> None:
        if self.path.is_dir() and any(path != self._lock for path in self.path.iterdir()):
            raise UserError(f"{self.path}: holds files that are not a run's: name another folder as output")

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: cannot write there ({error}): name another folder as output")

    def _move_aside(self) -> None:
        lock = self._acquire()
        kept = next(p for i in range(1, 10**6) if not (p := self.path.with_name(f"{self.path.name}.{i}")).exists())
        for left in self.path.rglob(".*.partial"):  # what a killed run was writing
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
        self._lock.unlink()
        self.path.rename(kept)
        os.close(lock)
        run = RunFolder(kept)
        if run._is_finished():
            for state in (run.last, *run.earlier()):  # needed only to go on; most of a run's size
                shutil.rmtree(state, ignore_errors=True)
        inodes = {(found := path.stat()).st_ino: found.st_size for path in kept.rglob("*") if path.is_file()}
        size = f"{sum(inodes.values()) / 1e6:.0f} MB"
        _log.info(f"{self.path} held an earlier run: kept as {kept} ({size}; remove that folder if you do not need it)")

    def _is_finished(self) -> bool:
        """Whether the run has come to its end and left a model; an unfinished one may be gone on with."""
        try:
            state = json.loads((self.last / "state.json").read_bytes())
            return self.best.is_dir() and state["finished"] is True
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _acquire(self) -> int:
        """The descriptor that holds the lock until it is closed; the system closes it when the process dies."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(f"{self.path}: another run is writing it: wait for it, or name another folder") from None
        except OSError:  # a file system without locks
            pass
        return descriptor


def run_of(path: Path) -> Path:
    """The folder of the run that a path to it, or to a checkpoint in it, means."""
    place = path.expanduser().resolve()
    inside = place.parent.name == "checkpoints" and not (place / "checkpoints").is_dir()
    return place.parent.parent if inside else path.expanduser()
