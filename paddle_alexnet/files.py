"""Paths as users type them, files of theirs, and writing in one step or not at all.

Whoever reads finds the old content or the new one, whole.
What is being written lies beside its place under a name of its own, locked while its writer lives. What a killed
writer left behind is removed by the next one for the same place.
"""

import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from csv import writer
from filecmp import cmp
from pathlib import Path
from typing import Any, Callable, Optional, TextIO

from paddle_alexnet.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing that was left behind is removed
    fcntl = None  # type: ignore[assignment]


def user_path(text: str) -> Path:
    """A path as a user types it, `~` meaning their home folder. Raises UserError where no file can be called so."""
    if not text or "\0" in text:
        raise UserError(f"{text!r} is no path: name a file or a folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: there is no such home folder; write ./{text} for a folder of that name") from None


def read_small(path: Path, *, at_most: int) -> bytes:
    """Read a file of at most so many bytes. Raises OSError for a larger one, a folder, a pipe or a device."""
    if not path.is_file():
        raise OSError("there is none" if not path.exists() else "it is not a regular file")
    if not path.stat().st_size:  # what /proc calls a file may have no end
        return b""
    with path.open("rb") as stream:
        content = stream.read(at_most + 1)
    if len(content) > at_most:
        raise OSError(f"it is larger than {at_most} bytes")
    return content


@contextmanager
def atomic_file(place: Path) -> Iterator[Path]:
    """A path to write to, which becomes `place` at the end, or is removed where that is not reached.

    Raises UserError if the disk refuses; what was there is untouched then.
    """
    target = place.resolve()
    try:
        if target.exists() and not target.is_file():
            if target.is_dir():
                raise UserError(f"{place}: is a folder: name a file")
            yield target  # a pipe or a device
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial(target, Path.touch) as partial:
            yield partial
            _sync(partial)
            os.replace(partial, target)
            _sync(target.parent)
    except (OSError, UnicodeEncodeError) as error:
        raise UserError(f"{place}: cannot write it ({error}); what was there is untouched") from error


@contextmanager
def atomic_folder(place: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `place` at the end, or is removed where that is not reached.

    With `replace` it takes the place of an older folder. Raises UserError where something is there already without
    it, and if the disk refuses; what was there is untouched then.
    """
    target = place.resolve()
    try:
        if not replace and target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise UserError(f"{place}: exists and is not empty; choose another folder or move it away")
        target.parent.mkdir(parents=True, exist_ok=True)
        finish_swap(target)
        with _partial(target, Path.mkdir) as partial:
            yield partial
            for path in sorted(partial.rglob("*")):
                if not path.is_symlink():
                    _sync(path)
            _sync(partial)
            if replace:
                _swap(partial, target)
            else:
                with suppress(FileNotFoundError):
                    target.rmdir()  # refused where another process has filled it meanwhile
                partial.rename(target)
            _sync(target.parent)
    except (OSError, UnicodeEncodeError) as error:
        raise UserError(f"{place}: cannot write it ({error}); what was there is untouched") from error


def write_text(place: Path, text: str) -> None:
    """Write a text file in UTF-8. Raises UserError if that cannot be done."""
    with atomic_file(place) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_csv(place: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV. Raises UserError if that cannot be done."""
    with growing_csv(place, header) as add:
        for row in rows:
            add(row)


@contextmanager
def growing_csv(place: Path, header: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], object]]:
    """What adds a row to a table: it is written as it grows, and in its place at the end, see `atomic_file`."""
    with growing_text(place) as stream:
        table = writer(stream, lineterminator="\n")
        table.writerow(header)
        yield table.writerow


@contextmanager
def growing_text(place: Path) -> Iterator[TextIO]:
    """A text file in UTF-8 that is written line by line, and in its place at the end, see `atomic_file`."""
    with atomic_file(place) as partial, partial.open("w", encoding="utf-8", newline="", buffering=1) as stream:
        yield stream


def copy_into(source: Path, folder: Path) -> Path:
    """Copy a file into a folder under its name, or NAME-2.jpg, … where another is called so, and return its path.

    What is there is never replaced; where it has the same bytes, it is the copy. Raises UserError if the disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, target = 1, folder / source.name
        while os.path.lexists(target) or not _copy_new(source, target):
            if target.is_file() and cmp(source, target, shallow=False):
                break
            number, target = number + 1, folder / f"{source.stem}-{number + 1}{source.suffix}"
    except OSError as error:
        raise UserError(f"{folder}: cannot copy {source.name} there ({error})") from error
    return target


def _copy_new(source: Path, target: Path) -> bool:
    """Copy a file, whole or not at all; False where the target is there meanwhile."""
    partial = target.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        shutil.copy2(source, partial)
        try:
            os.link(partial, target)  # which does not replace
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return True


@contextmanager
def _partial(target: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """A new, locked file or folder beside the target; removed at the end unless it was moved there."""
    _remove_left_behind(target)
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        create(partial)
        with suppress(BlockingIOError):
            lock = _lock(partial)
            if partial.exists():
                break
            if lock is not None:
                os.close(lock)
        # Another writer took it for one that was left behind, before it was locked: once more.
    try:
        yield partial
    finally:
        _remove(partial)
        if lock is not None:
            os.close(lock)


def _remove_left_behind(target: Path) -> None:
    left = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{8}\.partial")
    for path in list(target.parent.iterdir()) if fcntl else []:
        if left.fullmatch(path.name):
            with suppress(BlockingIOError):  # its writer lives
                lock = _lock(path)
                if lock is not None:
                    _remove(path)
                    os.close(lock)


def _lock(path: Path) -> Optional[int]:
    """The descriptor that holds a lock on a file or folder until it is closed, None where that cannot be had at all.

    Raises BlockingIOError where another writer has it.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder, before going on."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, place: Path) -> None:
    if not place.exists():
        with suppress(OSError):  # somebody else was quicker
            new.rename(place)
            return
    if not _exchange(new, place):
        old = place.with_name(f".{place.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        new.rename(place)
        shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders in one step where the system can (Linux: renameat2), else return False."""
    rename: Optional[Callable[..., int]] = None
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None), "renameat2", None)
    at_cwd, exchange = -100, 2
    return rename is not None and rename(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0


def finish_swap(place: Path) -> None:
    """Put the old folder back if a process died between the two renames of `_swap`."""
    old = place.with_name(f".{place.name}.old")
    if old.is_dir() and not place.exists():
        old.rename(place)
