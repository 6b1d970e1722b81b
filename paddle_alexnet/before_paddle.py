"""What must be set before Paddle is imported, and only then has an effect. Imported for that alone.

Nothing that the user has set is changed.
"""

import contextlib
import ctypes
import io
import os
import platform
import sys
import zlib  # noqa: F401  Paddle 2.6 exports an old zlib, which crashes Python's own where that is loaded later
from pathlib import Path

_X86 = platform.machine() in ("x86_64", "AMD64")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _amd_with_avx2() -> bool:
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        return "AuthenticAMD" in text and " avx2 " in text
    return False


os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle's errors, not how its executor is doing
if _amd_with_avx2():
    # The MKL of 2019 in Paddle knows only Intel's names for AVX2 and is three times slower without it.
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
    # Paddle frees every activation to the system and gets it back zeroed, page by page: keep them.
    trim_threshold, mmap_threshold = -1, -3
    ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
    ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
if _X86 and "OMP_NUM_THREADS" not in os.environ:
    # Paddle computes on one core unless told otherwise. Its warning about that is about OpenBLAS,
    # which its x86 builds do not use, so it is not shown.
    os.environ["OMP_NUM_THREADS"] = str(_cores())
    with contextlib.redirect_stderr(io.StringIO()):
        import paddle  # noqa: F401
