"""Library of compiled operators, built once per machine and kept in the user's cache."""

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from tempfile import TemporaryDirectory

import paddle
from paddle.base import core

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import atomic_file, read_small, write_text
from paddle_alexnet.system.progress import working
from paddle_alexnet.system.user_cache import cache_folder, fault_of, fault_of_folders, make_private

SOURCE = Path(__file__).with_name("operators.cc")
HEADERS = "onednn-devel-cpu-iomp"  # Paddle's wheel has oneDNN without headers
COMPILERS = ("c++", "g++", "clang++")
# For this processor only. No flag may change the order of a sum or the handling of NaN.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-std=c++17", "-w")
LINKING = ("-shared", "-l:libdnnl.so.3", "-Wl,-z,now")  # missing symbols are errors at load time

_REMEDY = "run paddle-alexnet build-kernels, or set model.kernels=paddle"
_registered: list[Path] = []  # the library that this process has loaded


def library_path() -> Path:
    """Return the path, in `cache_folder()`, of the library for this Paddle, processor and source.

    Raises:
        UserError: There is no home folder.
    """
    try:
        cache = cache_folder()
    except RuntimeError:
        raise UserError("compiled kernels: home folder not found; name a folder in XDG_CACHE_HOME") from None
    wheel = f"{paddle.__version__}-{'gpu' if paddle.is_compiled_with_cuda() else 'cpu'}"
    parts = (wheel, _processor(), *FLAGS, *LINKING, SOURCE.read_text(encoding="utf-8"))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return cache / "kernels" / f"{wheel}-{key}.so"


def built() -> bool:
    """Return whether the library exists, valid or not."""
    try:
        return library_path().is_file()
    except (UserError, OSError):
        return False


def whole() -> bool:
    """Return whether the library exists, only this user and root can write it, and its checksum matches."""
    try:
        _read_checked(library_path())
    except UserError:
        return False
    return True


def build() -> Path:
    """Compile the library unless a valid one exists, load it, and return its path.

    Raises:
        UserError: A compiler, headers or a writable folder are missing, or compiling or loading fails.
    """
    path = library_path()
    if whole():
        load()
        return path
    if sys.platform != "linux":
        raise UserError("compiled kernels: require Linux; set model.kernels=paddle, which computes the same")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), COMPILERS[0])
    if not shutil.which(compiler):
        raise UserError(f"C++ compiler {compiler}: not found; install one, such as g++, or name it in the variable CXX")
    headers = _headers()
    from paddle.utils.cpp_extension import CppExtension  # slow to import

    extension = CppExtension(sources=[str(SOURCE)])
    command = [compiler, *FLAGS, *extension.extra_compile_args, "-DPADDLE_NO_PYTHON", str(SOURCE)]
    command += [f"-I{folder}" for folder in (headers, *extension.include_dirs)]
    command += [f"-L{folder}" for folder in extension.library_dirs] + [*LINKING, *extension.extra_link_args]
    try:
        make_private(path.parent)
        fault = fault_of_folders(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot write it ({error}); name another folder in XDG_CACHE_HOME") from None
    if fault:
        raise UserError(f"{fault}; run chmod go-w there, or name another folder in XDG_CACHE_HOME")
    with atomic_file(path) as partial:
        with working(f"compiling kernels with {compiler}"):
            made = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True, check=False)
        if made.returncode:
            lines = made.stderr.strip().splitlines()
            reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no reason given")
            raise UserError(f"{SOURCE}: {compiler} cannot compile it ({reason.strip()[:300]}); name another in CXX")
        partial.chmod(0o700)
        content = partial.read_bytes()
        _register(content, path)
        write_text(_checksum_file(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    return path


def load() -> None:
    """Register the operators with Paddle.

    Raises:
        UserError: The library is not built, is writable by others, is damaged, or cannot be loaded.
    """
    path = library_path()
    if not path.is_file():
        raise UserError(f"compiled kernels: not built on this machine; {_REMEDY}")
    if not _registered:  # Paddle ends the process if another file registers an operator of the same name
        _register(_read_checked(path), path)


def _read_checked(path: Path) -> bytes:
    """Return the content of the library, or raise UserError if it is not the file that `build` wrote."""
    try:
        fault = fault_of_folders(path.parent)
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            found = os.fstat(stream.fileno())
            fault = fault or fault_of(found)
            if not stat.S_ISREG(found.st_mode):
                fault = "it is not a regular file"
            content = b"" if fault else stream.read()
        checksum = read_small(_checksum_file(path), at_most=1000).split()[:1]
    except OSError as error:
        fault = f"is unreadable, or its checksum is ({error})"
    if not fault and checksum != [hashlib.sha256(content).hexdigest().encode()]:
        fault = "is damaged, its checksum does not match"
    if fault:
        raise UserError(f"{path}: {fault}; {_REMEDY}")
    return content


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _register(content: bytes, path: Path) -> None:
    """Let Paddle load the library from a copy that no other process can change."""
    if _registered:
        return
    try:
        with _copy(content) as copy:
            core.load_op_meta_info_and_register_op(copy)
    except (RuntimeError, OSError, ValueError) as error:
        reason = next((line for line in str(error).splitlines() if "kernels" in line), "it is damaged")
        raise UserError(f"{path}: Paddle cannot load it ({reason.strip()[:300]}); {_REMEDY}") from None
    _registered.append(path)


@contextmanager
def _copy(content: bytes) -> Iterator[str]:
    """Yield the path of a file in memory, or of one in a private folder if the system has no such files."""
    try:
        descriptor = os.memfd_create("kernels")
    except (AttributeError, OSError):  # an older Python or kernel
        with TemporaryDirectory(prefix="kernels-") as folder:
            copy = Path(folder, "kernels.so")
            copy.write_bytes(content)
            yield str(copy)
        return
    with open(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        yield f"/proc/self/fd/{descriptor}"


def _headers() -> Path:
    """Return the folder with `oneapi/dnnl/dnnl.hpp`."""
    try:
        found = [file for file in files(HEADERS) or [] if file.parts[-3:] == ("oneapi", "dnnl", "dnnl.hpp")]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UserError(
            f'oneDNN headers: not installed; run pip install "paddle-alexnet[fast]", which installs {HEADERS}'
        )
    return Path(str(found[0].locate())).resolve().parents[2]


def _processor() -> str:
    """Return the name and the instruction sets of the processor, on which -march=native depends."""
    with suppress(OSError):  # not Linux
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return "\n".join(line for line in text.splitlines() if line.startswith(("model name", "flags")))
    return platform.machine()
