"""How much memory there is to take."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Optional


def available_memory(root: Path = Path("/")) -> Optional[int]:
    """Bytes that this process can still take, within the limits of its container; None where that cannot be told.

    `root` is the folder that holds `proc` and `sys`.
    """
    free = list(_within_cgroups(root))
    with suppress(OSError, ValueError, IndexError):
        meminfo = (root / "proc/meminfo").read_text()
        free.append(1024 * int(meminfo.partition("MemAvailable:")[2].split()[0]))
    return max(0, min(free)) if free else None


def _within_cgroups(root: Path) -> Iterator[int]:
    """What each control group that this process is in leaves, of version 1 or 2; files kept in memory count as free."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "":
                top, most, used, kept = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
            elif "memory" in controllers.split(","):
                top, most, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
                kept = "total_inactive_file"
            else:
                continue
            inside = PurePosixPath(group.lstrip("/"))
            for part in (inside, *inside.parents):  # a container may show its own group as the top
                with suppress(OSError, ValueError, KeyError):
                    stat = dict(row.split() for row in (top / part / "memory.stat").read_text().splitlines())
                    limit, usage = (int((top / part / name).read_text()) for name in (most, used))
                    yield limit - usage + int(stat[kept])
