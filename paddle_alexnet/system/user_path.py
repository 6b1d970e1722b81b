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
    """A path whose look-ups raise UserError if the system refuses them; joined paths and parents are of this type.

    `Path` raises OSError, RuntimeError or ValueError, depending on Python's version, for a name that is too long or
    holds NUL, a loop of links, and a folder that may not be entered.
    """

    def exists(self, **_: Any) -> bool:
        return bool(self._mode())

    def is_file(self, **_: Any) -> bool:
        return stat.S_ISREG(self._mode())

    def is_dir(self, **_: Any) -> bool:
        return stat.S_ISDIR(self._mode())

    def resolve(self, strict: bool = False) -> "UserPath":
        """Return the absolute path without links; a loop of links stays in the path."""
        try:
            return type(self)(os.path.realpath(self))
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None

    def iterdir(self) -> Generator["UserPath", None, None]:
        """Yield the content of a folder, sorted by name."""
        try:
            names = sorted(os.listdir(self))
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None
        yield from (self / name for name in names)

    def _mode(self) -> int:
        """Return the mode of what the path names, links followed; 0 if nothing is there."""
        try:
            return os.stat(self).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except (OSError, ValueError) as error:
            raise self._unseen(error) from None

    def _unseen(self, error: Exception) -> UserError:
        why = getattr(error, "strerror", None) or error
        return UserError(f"{self}: cannot be looked at ({why}); name another path")


def user_path(path: Union[str, "os.PathLike[str]"]) -> UserPath:
    """Return the path that a user means; `~` is the home folder.

    Raises:
        UserError: No file can have this name.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UserError(f"{text!r} is no path: name a file or a folder")
    try:
        return UserPath(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: there is no such home folder; write ./{text} for a folder of that name") from None
