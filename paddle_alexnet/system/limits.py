"""How many cores this process may use: those it may run on, or fewer where its container has a quota of CPU time."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """At least 1, and a share of them where `paddle.distributed.launch` started several. `root` has `proc`, `sys`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(ceil, _quotas(root))]) // int(os.environ.get("PADDLE_LOCAL_SIZE", 1)))


def computing_threads() -> int:
    """The threads that Paddle computes with, its own default being one."""
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores, of this process's control groups and of those above them (man 7 cgroups)."""
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
            with suppress(OSError, ValueError):  # ValueError: no quota, which is "max"
                quota, period = map(int, " ".join((folder / file).read_text() for file in files).split())
                if quota > 0:
                    yield quota / period
            if folder == base:
                break
