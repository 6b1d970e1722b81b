"""Process settings that take effect only before Paddle is imported; import this module for its side effects.

It changes nothing that the user has set, and does not import Paddle.
"""

import contextlib
import ctypes
import io
import logging
import os
import platform
import signal
import sys
import zlib  # noqa: F401  before Paddle 2.6, whose old zlib crashes Python's if Python's is loaded later
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Callable, Optional

from paddle_alexnet.system.limits import available_cores


class _PaddleLoader(SourceFileLoader):
    """A loader of Paddle that preloads its CUDA libraries and undoes three side effects of the import.

    Paddle warns about OMP_NUM_THREADS because of OpenBLAS, which its x86 builds do not use. Its SIGTERM handler prints
    a C++ stack and replaces the importing program's handler. Its root log handler shows every record twice.
    """

    def exec_module(self, module: ModuleType) -> None:
        from paddle_alexnet.system import cuda_libraries  # needed only with Paddle

        cuda_libraries.preload(Path(self.path).parent)
        handler = signal.getsignal(signal.SIGTERM)
        log_handlers, level = logging.root.handlers[:], logging.root.level

        def restore() -> None:
            with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler not set by Python
                signal.signal(signal.SIGTERM, handler)

        quiet = contextlib.redirect_stderr(io.StringIO()) if _threads_set_here else contextlib.nullcontext()
        _finder.before_submodule = restore  # early: most of the import follows Paddle's change
        try:
            with quiet:
                super().exec_module(module)
        finally:
            restore()
            logging.root.handlers[:] = log_handlers
            logging.root.setLevel(level)
            _finder.before_submodule = None


class _PaddleFinder(MetaPathFinder):
    """A finder that gives Paddle to `_PaddleLoader`."""

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
    from paddle_alexnet.system import zlib_fix

    zlib_fix.restore()
os.environ.setdefault("GLOG_minloglevel", "2")  # errors only
# oneDNN and MKL have separate thread pools; by default the idle one spins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if _amd_with_avx2():
    # Paddle's MKL of 2019 detects AVX2 only on Intel processors, and is three times slower without AVX2.
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
    # Keep the memory of freed activations: by default the system takes it and returns it zeroed, page by page.
    trim_threshold, mmap_threshold = -1, -3
    ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
    ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)
_threads_set_here = platform.machine() in ("x86_64", "AMD64") and "OMP_NUM_THREADS" not in os.environ
if _threads_set_here:
    os.environ["OMP_NUM_THREADS"] = str(available_cores())  # Paddle's default is 1
_finder = _PaddleFinder()
sys.meta_path.insert(0, _finder)
