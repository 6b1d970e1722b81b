"""What must be set before Paddle is imported, and only then has an effect. Imported for that alone.

Nothing that the user has set is changed, and Paddle itself is not imported.
"""

import contextlib
import ctypes
import io
import os
import platform
import sys
import zlib  # noqa: F401  Paddle 2.6 exports an old zlib, which crashes Python's own where that is loaded later
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Optional


class _QuietImport:
    """Imports Paddle without its warning about OMP_NUM_THREADS.

    That is about OpenBLAS, which Paddle's x86 builds do not use.
    """

    @staticmethod
    def find_spec(name: str, path: Optional[Sequence[str]] = None, target: Any = None) -> Optional[ModuleSpec]:
        spec = PathFinder.find_spec(name, path) if name == "paddle" else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def quietly(module: Any) -> None:
                with contextlib.redirect_stderr(io.StringIO()):
                    execute(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


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
if platform.machine() in ("x86_64", "AMD64") and "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = str(_cores())  # Paddle computes on one core unless told otherwise
    sys.meta_path.insert(0, _QuietImport)  # type: ignore[arg-type]
