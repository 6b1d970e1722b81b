"""The user's cache folder, and checks that no other user can write code there.

This module imports neither Paddle nor the rest of the package, because it is used before Paddle is imported.
"""

import os
from pathlib import Path

_OTHERS, _STICKY = 0o022, 0o1000


def cache_folder() -> Path:
    """Return `paddle-alexnet` in the folder that `XDG_CACHE_HOME` names, by default in `~/.cache`.

    Raises:
        RuntimeError: There is no home folder.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # the XDG specification ignores a relative path
        cache = Path.home() / ".cache"
    return cache / "paddle-alexnet"


def make_private(folder: Path) -> None:
    """Create a folder below `cache_folder()`, and withdraw others' write permission. Raises OSError."""
    root = cache_folder().parent
    for path in (*(root / part for part in reversed(folder.relative_to(root).parents)), folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode
        if path != root and mode & _OTHERS and path.stat().st_uid == os.geteuid():
            path.chmod(mode & 0o7777 & ~_OTHERS)


def fault_of_folders(folder: Path) -> str:
    """Return the first folder, from `folder` up to the cache's root, that others can write, with the reason, or ""."""
    root = cache_folder().parent
    for path in (folder, *folder.parents):
        found = path.stat()
        if (fault := fault_of(found)) and not (found.st_mode & _STICKY and found.st_uid in _trusted()):
            return f"{path}: {fault}"
        if path == root:
            break
    return ""


def fault_of(found: os.stat_result) -> str:
    """Return why others could have written a file; "" if only this user and root can write it."""
    if found.st_uid not in _trusted():
        return "it belongs to another user"
    return "users other than its owner can write it" if found.st_mode & _OTHERS else ""


def _trusted() -> tuple[int, int]:
    return 0, os.geteuid()
