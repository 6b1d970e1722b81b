"""Text and tables of other programs, locks, and atomic writing of files and folders.

A reader finds either the old or the new content, complete. A file in progress lies beside its target under another
name, locked while its writer lives. The next writer of the target removes the remains of killed writers.
"""

import csv
import ctypes
import errno
import logging
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from filecmp import cmp
from pathlib import Path
from typing import Any, Callable, Optional, TextIO

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.user_path import UserPath

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing that was left behind is removed
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
# Returns the names of our files in a folder; raises UserError for a folder of another program.
OwnFiles = Callable[[Path], Collection[str]]
_LITTER = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|\.nfs[0-9a-f]+")  # file managers and NFS leave these
# CIFS, VirtualBox and FUSE refuse to sync a folder: nothing is wrong with what was written.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def read_small(path: Path, *, at_most: int) -> bytes:
    """Read a regular file, or raise OSError if it has more than `at_most` bytes or is not a regular file."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise OSError("not found") from None
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a regular file")
    if not found.st_size:  # files of /proc may be endless
        return b""
    with path.open("rb") as stream:
        content = stream.read(at_most + 1)
    if len(content) > at_most:
        raise OSError(f"it is larger than {at_most} bytes")
    return content


@contextmanager
def atomic_file(place: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces `place` at the end, or is removed after an error.

    Raises:
        UserError: `place` is a folder, or cannot be written; the message says whether the old file is untouched.
    """
    target = UserPath(place).resolve()
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise UserError(f"{place}: is a folder; name a file")
        try:
            yield target  # a pipe or a device
        except UserError:
            raise
        except (OSError, UnicodeEncodeError) as error:
            raise UserError(f"{place}: cannot write it ({error}); name another file") from error
        return
    with _untouched(place):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial(target, Path.touch) as partial:
            yield partial
            sync(partial)
            os.replace(partial, target)
            _keep_name(target)


@contextmanager
def atomic_folder(place: Path, *, replace: Optional[OwnFiles] = None, aside: bool = False) -> Iterator[Path]:
    """Yield a folder to fill, which becomes `place` at the end, or is removed after an error.

    Args:
        replace: Return our files in an older folder, which is replaced if it holds no others; by default only an empty
            folder is replaced.
        aside: Keep an older folder with other files as NAME.1, instead of raising an error.

    Raises:
        UserError: `place` must not be replaced, or cannot be written; the message says whether it is untouched.
    """
    target = UserPath(place).resolve()
    if replace is None:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise UserError(f"{place}: already exists and is not empty; choose another folder or move it away")
    else:
        with _untouched(place):
            _finish_swap(target, replace)
        if target.exists() and not aside:
            refuse_strays(place, replace)
    with _untouched(place):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial(target, Path.mkdir) as partial:
            yield partial
            for path in sorted(partial.rglob("*")):
                if not path.is_symlink():
                    sync(path)
            sync(partial)
            if replace is not None:
                _swap(partial, target, replace, aside=aside)
            else:
                with suppress(FileNotFoundError):
                    target.rmdir()  # fails if another process has filled it meanwhile
                partial.rename(target)
            _keep_name(target)


@contextmanager
def _untouched(place: Path) -> Iterator[None]:
    """Add to an error that the old content is untouched; nothing in the block may change `place` before it fails."""
    try:
        yield
    except UserError:
        raise
    except (OSError, UnicodeEncodeError) as error:
        raise UserError(f"{place}: cannot write it ({error}); the old content is untouched") from error


def _keep_name(place: Path) -> None:
    """Sync the folder of a new file, so that the disk keeps the file's name."""
    try:
        sync(place.parent)
    except OSError as error:
        raise UserError(f"{place}: is written, but the disk may lose it ({error}); check the disk") from error


def strays(folder: Path, own: OwnFiles) -> list[str]:
    """Return the names in a folder that are neither our files nor file managers' metadata.

    Raises:
        UserError: The folder is another program's, or is unreadable.
    """
    folder = UserPath(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: already exists and is not a folder; choose another folder")
    names = [path.name for path in folder.iterdir()]
    ours = own(folder) if names else ()
    return [
        name for name in names if (name not in ours and not _LITTER.fullmatch(name)) or os.path.isdir(folder / name)
    ]


def refuse_strays(folder: Path, own: OwnFiles) -> None:
    """Raise UserError if a folder that is to be replaced holds other files than ours."""
    found = strays(folder, own)
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise UserError(f"{folder}: holds {found[0]}{more}, which would be lost; move it away or choose another folder")


def remove_own(folder: Path, own: OwnFiles) -> None:
    """Remove our files from a folder, and the folder if it is then empty."""
    with suppress(UserError, OSError):
        for name in own(folder):
            with suppress(OSError):
                (folder / name).unlink()
        folder.rmdir()


def free_name(path: Path) -> Path:
    """Return the first of NAME.1, NAME.2, … that does not exist yet."""
    return next(free for i in range(1, 10**6) if not os.path.lexists(free := path.with_name(f"{path.name}.{i}")))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, as shared blocks if the file system supports them."""
    if hasattr(os, "copy_file_range"):
        with suppress(OSError), source.open("rb") as old, target.open("wb") as new:
            left = os.fstat(old.fileno()).st_size
            while left and (done := os.copy_file_range(old.fileno(), new.fileno(), left)):
                left -= done
            if not left:
                return
    shutil.copyfile(source, target)


def write_text(place: Path, text: str) -> None:
    """Write a text file in UTF-8, see `atomic_file`."""
    with atomic_file(place) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_csv(place: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, excel: bool = False) -> None:
    """Write a table as CSV, see `growing_csv`."""
    with growing_csv(place, header, excel=excel) as add:
        for row in rows:
            add(row)


@contextmanager
def growing_csv(
    place: Path, header: Sequence[str], *, excel: bool = False
) -> Iterator[Callable[[Sequence[Any]], object]]:
    """Yield a function that appends a row to a CSV file, see `atomic_file`.

    Args:
        excel: Write the byte order mark by which Excel recognizes UTF-8; default no.
    """
    with growing_text(place, encoding="utf-8-sig" if excel else "utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(header)
        yield table.writerow


@contextmanager
def growing_text(place: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Yield a line-buffered text file, see `atomic_file`."""
    with atomic_file(place) as partial, partial.open("w", encoding=encoding, newline="", buffering=1) as stream:
        yield stream


def copy_into(source: Path, folder: Path) -> Path:
    """Copy a file into a folder under its name, or NAME-2.jpg, … if another has that name, and return its path.

    No file is replaced; a file with the same bytes counts as the copy.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, target = 1, folder / source.name
        while os.path.lexists(target) or not _copy_new(source, target):
            if target.is_file() and cmp(source, target, shallow=False):
                break
            number, target = number + 1, folder / f"{source.stem}-{number + 1}{source.suffix}"
    except OSError as error:
        raise UserError(f"{folder}: cannot copy {source.name} there ({error}); choose another folder") from error
    return target


def _copy_new(source: Path, target: Path) -> bool:
    """Copy a file atomically; return False if the target exists by then."""
    partial = target.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        shutil.copy2(source, partial)
        try:
            os.link(partial, target)  # never replaces
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return True


@contextmanager
def _partial(target: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new, locked file or folder beside the target, and remove it at the end unless it was moved."""
    remove_left_behind(target.parent, re.escape(target.name))
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        create(partial)
        with suppress(BlockingIOError, FileNotFoundError):
            held = lock(partial)
            break
        # Another writer removed it as abandoned before it was locked: try again.
    try:
        yield partial
    finally:
        _remove(partial)
        if held is not None:
            os.close(held)


def remove_left_behind(folder: Path, names: str) -> None:
    """Remove the remains of killed writers from a folder; `names` is a regular expression for their targets."""
    left = re.compile(rf"\.({names})\.[0-9a-f]{{8}}\.partial")
    for name in os.listdir(folder) if fcntl else []:
        if not left.fullmatch(name):
            continue
        with suppress(OSError):  # its writer lives, or another process removes it
            held = lock(folder / name)
            if held is not None:
                _remove(folder / name)
                os.close(held)


def lock(path: Path, *, shared: bool = False, wait: bool = False) -> Optional[int]:
    """Lock an existing file or folder until the descriptor is closed or the process ends.

    Args:
        shared: Whether others may hold a shared lock too; default no.
        wait: Whether to wait while another process holds the lock; default no.

    Returns:
        The descriptor, or None if this system or file system has no locks.

    Raises:
        BlockingIOError: Another process holds the lock, without `wait`.
        OSError: The path cannot be opened.
    """
    if fcntl is None:
        return None
    # On NFS, an exclusive lock requires a descriptor that is open for writing.
    flags = os.O_RDONLY if shared or os.path.isdir(path) else os.O_RDWR
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, flags)
        try:
            fcntl.flock(descriptor, operation)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
            os.close(descriptor)  # its holder replaced it: try again
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, (BlockingIOError, FileNotFoundError)):
                raise
            return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk if the file system can. Raises OSError if it fails."""
    if os.name == "nt" and path.is_dir():
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that is writable, but unreadable
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _swap(new: Path, place: Path, own: OwnFiles, *, aside: bool) -> None:
    """Replace an older folder with `new`, see `atomic_folder`."""
    if not os.path.lexists(place):
        with suppress(OSError):  # another process was first
            new.rename(place)
            return
    held = lock(place, wait=True)  # or another writer could remove it as abandoned once it is moved
    try:
        _swap_locked(new, place, own, aside=aside)
    finally:
        if held is not None:
            os.close(held)


def _swap_locked(new: Path, place: Path, own: OwnFiles, *, aside: bool) -> None:
    old, exchanged = _old(place), True
    if _exchange(new, place):
        old = new
    else:
        if os.path.lexists(old):
            _discard(old, place, own, aside=aside)
        place.rename(old)
        try:
            new.rename(place)
        except OSError:
            old.rename(place)
            raise
        exchanged = False
    try:
        _discard(old, place, own, aside=aside)
    except (UserError, OSError) as error:  # files were added since the check
        if exchanged:
            _exchange(new, place)
        else:
            place.rename(new)
            old.rename(place)
        if isinstance(error, OSError):
            raise
        raise UserError(str(error).replace(str(old), str(place))) from None


def _discard(old: Path, place: Path, own: OwnFiles, *, aside: bool) -> None:
    """Remove an older folder of ours; if it holds other files, keep it beside `place` or raise UserError."""
    if aside and strays(old, own):
        kept = free_name(place)
        old.rename(kept)
        _log.warning(f"{place}: the old folder holds other files; it is kept as {kept}")
    else:
        refuse_strays(old, own)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two folders atomically if the system can (Linux: renameat2), else return False."""
    rename: Optional[Callable[..., int]] = None
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None), "renameat2", None)
    at_cwd, exchange = -100, 2
    return rename is not None and rename(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _finish_swap(place: Path, own: OwnFiles) -> None:
    """Put the old folder back if a process died between the two renames of `_swap`."""
    old = _old(place)
    if old.is_dir() and not os.path.lexists(place):
        with suppress(UserError):  # another program's folder of that name
            strays(old, own)
            old.rename(place)


_MAX_HEADER = 100_000  # characters


def decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 if there is a byte order mark. Raises UnicodeDecodeError."""
    return content.decode(_encoding(content))


@contextmanager
def open_csv(path: Path) -> Iterator[Any]:
    """Yield a `csv.reader`; the delimiter is the most frequent of comma, semicolon and tab in the header.

    Raises:
        OSError: The file is unreadable; iteration raises UnicodeDecodeError and csv.Error.
    """
    with path.open("rb") as raw:
        encoding = _encoding(raw.read(2))
    with path.open(encoding=encoding, newline="") as stream:
        header = stream.readline(_MAX_HEADER)
        stream.seek(0)
        yield csv.reader(stream, delimiter=max(",;\t", key=header.count))


def explain_error(error: Exception) -> str:
    """Return why a text file is unreadable, with the remedy for an unknown encoding."""
    return "neither UTF-8 nor UTF-16; save it as CSV UTF-8" if isinstance(error, UnicodeError) else str(error)


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
