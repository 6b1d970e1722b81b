"""Free memory, as the kernel tells it, in and outside of containers."""

from pathlib import Path

import pytest

from paddle_alexnet.system.limits import available_memory

GB = 1 << 30


def system(root: Path, files: dict[str, str]) -> Path:
    """A folder that holds `proc` and `sys` as Linux has them."""
    for name, text in {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   8388608 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {"memory.max": f"{4 * GB}\n", "memory.current": f"{3 * GB}\n", "memory.stat": f"anon 7\ninactive_file {GB}\n"}
V1 = {
    "memory.limit_in_bytes": f"{4 * GB}\n",
    "memory.usage_in_bytes": f"{3 * GB}\n",
    "memory.stat": f"inactive_file 5\ntotal_inactive_file {GB}\n",
}


@pytest.mark.parametrize(
    "cgroup, files, expected",
    [
        ("", {}, 8 * GB),
        ("0::/\n", {f"sys/fs/cgroup/{name}": text for name, text in V2.items()}, 2 * GB),
        (
            "0::/a/b\n",
            {f"sys/fs/cgroup/a/{name}": text for name, text in V2.items()},
            2 * GB,
        ),  # the limit is a parent's
        ("0::/a\n", {f"sys/fs/cgroup/a/{name}": text for name, text in {**V2, "memory.max": "max"}.items()}, 8 * GB),
        ("3:cpu:/\n2:memory:/x\n", {f"sys/fs/cgroup/memory/{name}": text for name, text in V1.items()}, 2 * GB),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "nonsense", "sys/fs/cgroup/memory.stat": "?"}, 8 * GB),
        ("0::/\n", {f"sys/fs/cgroup/{name}": t for name, t in {**V2, "memory.max": "5"}.items()}, 0),
    ],
)
def test_the_tightest_limit_counts(tmp_path, cgroup, files, expected):
    assert available_memory(system(tmp_path, {"proc/self/cgroup": cgroup, **files})) == expected


def test_available_memory_without_proc_is_none(tmp_path):
    assert available_memory(tmp_path) is None
