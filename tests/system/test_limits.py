"""A container's quota of CPU time bounds the threads; the files are as the kernel's documentation shows them."""

import os

import pytest

from paddle_alexnet.system.limits import available_cores

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, HERE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, HERE),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 1),  # of a group above
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "nonsense"}, HERE),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/7\n3:cpu,cpuacct:/docker/7\n",  # as a container without a
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "20000\n",  # name space of its own sees it
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            HERE,
        ),
    ],
)
def test_quota(tmp_path, files, expected):
    write(tmp_path, files)
    assert available_cores(tmp_path) == expected


@pytest.mark.skipif(HERE < 2, reason="needs two cores")
def test_a_part_of_a_core_counts_as_one(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"})
    assert available_cores(tmp_path) == 2
