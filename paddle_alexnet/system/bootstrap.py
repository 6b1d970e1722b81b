"""What must be set before Paddle is imported, and only then has an effect. Imported for that alone.

Nothing that the user has set is changed, and Paddle itself is not imported.
"""

import contextlib
import ctypes
import io
import logging
import os
import platform
import signal
import sys
import zlib  # noqa: F401  Paddle 2.6 exports an old zlib, which crashes Python's own where that is loaded later
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Callable, Optional

from paddle_alexnet.system import zlib_fix as own_zlib
from paddle_alexnet.system.limits import available_cores


class _PaddleLoader(SourceFileLoader):
    """Imports Paddle with the CUDA libraries that it needs, and without three side effects.

    Its warning about OMP_NUM_THREADS, which is about OpenBLAS, which its x86 builds do not use; its handler for
    SIGTERM, which prints a C++ stack and would replace the one of the program that imports it; and its handler of the
    root logger, which would show every line that anyone logs a second time.
    """

    def exec_module(self, module: ModuleType) -> None:
        from paddle_alexnet.system import cuda_libraries  # now, for it is needed only with Paddle

        cuda_libraries.preload(Path(self.path).parent)
        handler = signal.getsignal(signal.SIGTERM)
        log_handlers, level = logging.root.handlers[:], logging.root.level

        def restore() -> None:
            with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler that is not Python's
                signal.signal(signal.SIGTERM, handler)

        quiet = contextlib.redirect_stderr(io.StringIO()) if _threads_set_here else contextlib.nullcontext()
        _finder.before_submodule = restore  # soon, for most of the import's time comes after Paddle has set its own
        try:
            with quiet:
                super().exec_module(module)
        finally:
            restore()
            logging.root.handlers[:] = log_handlers
            logging.root.setLevel(level)
            _finder.before_submodule = None


class _PaddleFinder(MetaPathFinder):
    """Finds Paddle where Python would, and has `_PaddleLoader` load it."""

    before_submodule: Optional[Callable[[], None]] = None

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        if self.before_submodule is not None and fullname.startswith("paddle."):
            self.before_submodule()
        spec = PathFinder.find_spec(fullname, path) if fullname == "paddle" else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _PaddleLoader(spec.loader.name, spec.loader.path)
        return spec


def _amd_with_avx2() -> bool:
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        return "AuthenticAMD" in text and " avx2 " in text
    return False


if "paddle" in sys.modules:
    own_zlib.restore()
os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle's errors, not how its executor is doing
# oneDNN's threads and MKL's are not the same ones, and by default each kind keeps the cores busy while it waits.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if _amd_with_avx2():
    # The MKL of 2019 in Paddle knows only Intel's names for AVX2 and is three times slower without it.
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
    # Paddle frees every activation to the system and gets it back zeroed, page by page: keep them.
    trim_threshold, mmap_threshold = -1, -3
    ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
    ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
_threads_set_here = platform.machine() in ("x86_64", "AMD64") and "OMP_NUM_THREADS" not in os.environ
if _threads_set_here:
    os.environ["OMP_NUM_THREADS"] = str(available_cores())  # Paddle computes on one core unless told otherwise
_finder = _PaddleFinder()
sys.meta_path.insert(0, _finder)
