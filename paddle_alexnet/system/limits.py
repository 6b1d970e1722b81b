"""Limits on the cores and the memory that this process may use: affinity, cgroups, free memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Optional


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of usable CPU cores (at least 1), honoring affinity, cgroup quotas and this rank's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(ceil, _quotas(root))]) // int(os.environ.get("PADDLE_LOCAL_SIZE", 1)))


def computing_threads() -> int:
    """Return the number of threads that Paddle computes with; Paddle's default is 1."""
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of this process's cgroups and their parents (man 7 cgroups)."""
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            base, files = root / "sys/fs/cgroup", ["cpu.max"]
        elif "cpu" in controllers.split(","):
            base, files = root / "sys/fs/cgroup" / controllers, ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # ValueError: the quota is "max"
                quota, period = map(int, " ".join((folder / file).read_text() for file in files).split())
                if quota > 0:
                    yield quota / period
            if folder == base:
                break


def available_memory(root: Path = Path("/")) -> Optional[int]:
    """Return the bytes that this process can still allocate within its container's limits; None if unknown."""
    free = list(_within_cgroups(root))
    with suppress(OSError, ValueError, IndexError):
        meminfo = (root / "proc/meminfo").read_text()
        free.append(1024 * int(meminfo.partition("MemAvailable:")[2].split()[0]))
    return max(0, min(free)) if free else None


def _within_cgroups(root: Path) -> Iterator[int]:
    """Yield the bytes that each cgroup (version 1 or 2) of this process leaves; the page cache counts as free."""
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
            for part in (inside, *inside.parents):  # a container may see its own cgroup as the root
                with suppress(OSError, ValueError, KeyError):
                    stat = dict(row.split() for row in (top / part / "memory.stat").read_text().splitlines())
                    limit, usage = (int((top / part / name).read_text()) for name in (most, used))
                    yield limit - usage + int(stat[kept])
