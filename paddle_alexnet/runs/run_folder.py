"""The folder of a training run: its paths, its lock and its start."""

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

_EARLIER = r"epoch-\d{4,}-step-\d{7,}"  # names of kept states


class RunFolder:
    """The paths in a run's folder."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        path = user_path(path)
        self.path = path if path.name not in ("", "..") else path.resolve()
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.curves = self.path / "curves.png"
        self.environment = self.path / "environment.json"
        self.validation = self.path / "validation"  # the best model's predictions for the validation images
        self.report = self.path / "report.html"
        self.visualdl = self.path / "visualdl"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best"  # lowest mean validation loss
        self.last = self.checkpoints / "last"  # newest state, to resume from
        self.inference = self.path / "inference"  # exported from `best`
        self.onnx = self.path / "onnx"  # the same as ONNX, on request
        self._lock = self.path / ".lock"

    def earlier(self) -> list[Path]:
        """Return the kept states other than the newest, oldest first."""
        states = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return [path for path in states if re.fullmatch(_EARLIER, path.name) and (path / "metadata.json").is_file()]

    def files(self) -> tuple[Path, ...]:
        """Return the files that a run writes beside its folders."""
        return self.config, self.metrics, self.curves, self.environment, self.report

    def is_run(self) -> bool:
        """Return whether the folder has a run, even an unfinished one, by files that no other program writes."""
        if not self.path.is_dir():
            return False
        from paddle_alexnet.config.recipe import DATA_COMMENT  # slow imports
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
        """Return whether the folder has only what a run creates before its config."""
        half = re.compile(rf"\.({self._written()})\.[0-9a-f]{{8}}\.partial")
        rest = [path for path in self._entries() if not half.fullmatch(path.name)]
        return (
            rest == [self.checkpoints]
            and self.checkpoints.is_dir()
            and all(half.fullmatch(path.name) for path in self.checkpoints.iterdir())
        )

    def _entries(self) -> list[Path]:
        """Return the folder's content except the lock, which is empty."""
        lock = self._lock
        return [path for path in self.path.iterdir() if path != lock or path.is_symlink() or os.path.getsize(path)]

    def _written(self) -> str:
        """Return a regular expression for the names that a run writes atomically; a kill leaves partial ones beside."""
        folders = (self.validation, self.best, self.last, self.inference, self.onnx)
        return "|".join([*(re.escape(path.name) for path in (*self.files(), *folders)), _EARLIER])

    def is_being_written(self) -> bool:
        """Return whether a live run holds the lock, if the file system has locks."""
        try:
            held = lock(self._lock, shared=True)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        if held is not None:
            os.close(held)
        return False

    def check(self) -> None:
        """Raise UserError if `begin` would, without changing anything."""
        try:
            if not self.is_run():
                self._refuse_foreign()
            elif self._lock.exists() and (held := self._acquire()) is not None:
                os.close(held)
            nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
            if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
                raise OSError(f"{nearest} is not a writable folder")
        except UserError:
            raise
        except OSError as error:
            raise self._unwritable(error) from None

    @contextmanager
    def begin(self, *, resume: bool = False) -> Iterator[None]:
        """Create the folder and lock it inside the `with` statement; move an earlier run aside unless `resume`.

        Raises:
            UserError: Another run is writing the folder, it has other files, or it cannot be written.
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
        except UserError:
            raise
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            self._release(held)

    def _refuse_foreign(self) -> None:
        if self.path.is_dir() and (others := self._entries()):
            raise UserError(
                f"{self.path}: has files that are not a run's ({others[0].name}); choose another folder as output"
            )

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: cannot write there ({error}); choose another folder as output")

    def _move_aside(self) -> None:
        held = self._acquire()
        kept = free_name(self.path)
        self._remove_left_behind()
        self.path.rename(kept)
        RunFolder(kept)._release(held)
        size = sum(path.stat().st_size for path in kept.rglob("*") if os.path.isfile(path)) / 1e6
        _log.info(
            f"{self.path} had an earlier run, kept as {kept} ({size:.0f} MB); remove {kept} if you do not need it"
        )

    def _remove_left_behind(self) -> None:
        """Remove partial files of a killed run."""
        for folder in (self.path, self.checkpoints):
            if folder.is_dir():
                remove_left_behind(folder, self._written())

    def _acquire(self) -> Optional[int]:
        """Lock the folder (`files.lock`). Raises UserError if another run holds the lock."""
        while True:
            self._lock.touch()
            with suppress(FileNotFoundError):  # another run has just ended and removed it
                try:
                    return lock(self._lock)
                except BlockingIOError:
                    raise UserError(
                        f"{self.path}: another run is writing it; wait for it, or choose another folder"
                    ) from None

    def _release(self, held: Optional[int]) -> None:
        with suppress(OSError):
            if not self._lock.stat().st_size:  # a lock of ours is empty
                self._lock.unlink()
        if held is not None:
            os.close(held)


def _beginning(path: Path, size: int = 4096) -> bytes:
    """Return the first bytes of a regular file, or none if it is unreadable."""
    with suppress(OSError):
        if os.path.isfile(path):
            with path.open("rb") as stream:
                return stream.read(size)
    return b""


def run_of(path: Path) -> Path:
    """Return the folder of a run, given its path or one of its checkpoints'."""
    path = user_path(path)
    place = path.resolve()
    inside = place.parent.name == "checkpoints" and not (place / "checkpoints").is_dir()
    return place.parent.parent if inside else path
