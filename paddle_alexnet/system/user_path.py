"""Paths that users name."""

import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from paddle_alexnet.system.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path as SystemPath
else:
    SystemPath = type(Path())  # PosixPath or WindowsPath: before Python 3.12, Path itself cannot be derived from


class UserPath(SystemPath):
    """A path whose methods raise UserError for an unreadable path; joined paths and parents have this type too.

    `Path` raises OSError, RuntimeError or ValueError, depending on Python's version, for a name that is too long or
    contains NUL, a symlink loop, and a folder without permission.
    """

    def exists(self, **_: Any) -> bool:
        return bool(self._mode())

    def is_file(self, **_: Any) -> bool:
        return stat.S_ISREG(self._mode())

    def is_dir(self, **_: Any) -> bool:
        return stat.S_ISDIR(self._mode())

    def resolve(self, strict: bool = False) -> "UserPath":
        """Return the absolute path without symlinks, except those of a loop."""
        try:
            return type(self)(os.path.realpath(self))
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None

    def iterdir(self) -> Generator["UserPath", None, None]:
        """Yield the paths in a folder, sorted by name."""
        try:
            names = sorted(os.listdir(self))
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None
        yield from (self / name for name in names)

    def _mode(self) -> int:
        """Return the mode of the path, following symlinks; 0 if it does not exist."""
        try:
            return os.stat(self).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None

    def _unseen(self, error: Exception) -> UserError:
        why = getattr(error, "strerror", None) or error
        return UserError(f"{self}: is unreadable ({why}); name another path")


def user_path(path: Union[str, "os.PathLike[str]"]) -> UserPath:
    """Return the path that a user means; `~` is the home folder.

    Raises:
        UserError: No file can have this name.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UserError(f"{text!r}: is not a path; name a file or a folder")
    try:
        return UserPath(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: home folder not found; write ./{text} for a folder of that name") from None
