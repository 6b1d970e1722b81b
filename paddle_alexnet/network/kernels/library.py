"""The library of compiled operators: built once on a machine, kept in the user's cache, loaded where it is there."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import paddle
from paddle.base import core

from paddle_alexnet.errors import UserError
from paddle_alexnet.files import atomic_file

SOURCE = Path(__file__).with_name("operators.cc")
HEADERS = "onednn-devel-cpu-iomp"  # Paddle's wheel brings its oneDNN without them
COMPILERS = ("c++", "g++", "clang++")
# For this processor alone. Nothing that changes the order of a sum, or what is not a number.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-std=c++17", "-w")
LINKING = ("-shared", "-l:libdnnl.so.3", "-Wl,-z,now")  # what is missing is missed when the library is loaded

_registered: list[Path] = []  # the library that this process has loaded


def library_path() -> Path:
    """Where the library is kept that this Paddle, processor and source ask for; `XDG_CACHE_HOME` names the cache.

    Raises UserError without a home.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # others are to be ignored, says the specification
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            raise UserError("no home folder to keep compiled kernels in: name a folder in XDG_CACHE_HOME") from None
    wheel = f"{paddle.__version__}-{'gpu' if paddle.is_compiled_with_cuda() else 'cpu'}"
    parts = (wheel, _processor(), *FLAGS, *LINKING, SOURCE.read_text(encoding="utf-8"))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return cache / "paddle-alexnet" / "kernels" / f"{wheel}-{key}.so"


def built() -> bool:
    """Whether the library is there."""
    try:
        return library_path().is_file()
    except (UserError, OSError):
        return False


def build() -> Path:
    """Compile the library, unless it is there, make sure that Paddle can load it, and return its path.

    Raises UserError where that cannot be done, naming what is missing: a compiler, headers, a folder to write to.
    """
    path = library_path()
    if built():
        load()
        return path
    if sys.platform != "linux":
        raise UserError("compiled kernels are for Linux; without them Paddle's own compute the same")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), COMPILERS[0])
    if not shutil.which(compiler):
        raise UserError(f"no C++ compiler {compiler}: install one, such as g++, or name it in the variable CXX")
    headers = _headers()
    from paddle.utils.cpp_extension import CppExtension  # which takes its time

    extension = CppExtension(sources=[str(SOURCE)])
    command = [compiler, *FLAGS, *extension.extra_compile_args, "-DPADDLE_NO_PYTHON", str(SOURCE)]
    command += [f"-I{folder}" for folder in (headers, *extension.include_dirs)]
    command += [f"-L{folder}" for folder in extension.library_dirs] + [*LINKING, *extension.extra_link_args]
    with atomic_file(path) as partial:
        made = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True, check=False)
        if made.returncode:
            lines = made.stderr.strip().splitlines()
            reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no reason given")
            raise UserError(f"{compiler} cannot compile {SOURCE} ({reason.strip()[:300]})")
        _register(partial)
    return path


def load() -> None:
    """Make the operators known to Paddle. Raises UserError if the library is not built or does not fit this Paddle."""
    path = library_path()
    if not path.is_file():
        raise UserError(
            "the compiled kernels are not built on this machine: run paddle-alexnet build-kernels, or set "
            "model.kernels=paddle"
        )
    _register(path)


def _register(path: Path) -> None:
    if _registered:  # Paddle ends the process where an operator of the same name comes from another file
        return
    try:
        core.load_op_meta_info_and_register_op(str(path))
        _registered.append(path)
    except (RuntimeError, OSError, ValueError) as error:
        reason = next((line for line in str(error).splitlines() if path.name in line), "it is damaged")
        raise UserError(
            f"{path}: Paddle cannot load it ({reason.strip()[:300]}): remove it and build it again"
        ) from None


def _headers() -> Path:
    """The folder that holds `oneapi/dnnl/dnnl.hpp`."""
    try:
        found = [file for file in files(HEADERS) or [] if file.parts[-3:] == ("oneapi", "dnnl", "dnnl.hpp")]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UserError(f"the headers of oneDNN are not installed: pip install '.[fast]', which brings {HEADERS}")
    return Path(str(found[0].locate())).resolve().parents[2]


def _processor() -> str:
    """What the compiler takes the processor for: its name and its instructions."""
    with suppress(OSError):  # no Linux
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return "\n".join(line for line in text.splitlines() if line.startswith(("model name", "flags")))
    return platform.machine()
