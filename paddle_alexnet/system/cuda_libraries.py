"""CUDA libraries of NVIDIA's wheels, made visible to Paddle 2's GPU build.

Paddle opens `libcudnn.so`, which the loader searches beside the calling library, `paddle/libs/libphi.so`. NVIDIA's
wheels hold `nvidia/cudnn/lib/libcudnn.so.8`. Loading that file first does not help: the loader knows a loaded library
only by its versioned soname. This module loads Paddle's library through a folder with symlinks under both names.
"""

import atexit
import ctypes
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path

from paddle_alexnet.system.user_cache import cache_folder, fault_of_folders, make_private

# The names that Paddle 2.6.2 opens, and their sonames in CUDA 11.8 and cuDNN 8.6.
NUMBERED = {
    "libcublasLt.so": "libcublasLt.so.11",
    "libcublas.so": "libcublas.so.11",
    "libcudnn.so": "libcudnn.so.8",
    "libcufft.so": "libcufft.so.10",
    "libcurand.so": "libcurand.so.10",
    "libcusolver.so": "libcusolver.so.11",
    "libcusparse.so": "libcusparse.so.11",
    "libnvrtc.so": "libnvrtc.so.11.2",
    "libnccl.so": "libnccl.so.2",  # between several GPUs
}

_linked: list[Path] = []  # the folder of symlinks that Paddle was loaded through: none or one


def cuda_version(paddle: Path) -> str:
    """Return the CUDA version that the Paddle 2 in a folder is built for, such as 11.8.

    It is "" for a CPU build, and for Paddle 3, whose GPU builds find their own libraries.
    """
    with suppress(OSError):
        text = (paddle / "version" / "__init__.py").read_text(encoding="utf-8", errors="replace")
        said = dict(re.findall(r"^(full_version|cuda_version)\s*=\s*'([\d.]+)", text, re.MULTILINE))
        return said.get("cuda_version", "") if said.get("full_version", "").startswith("2.") else ""
    return ""


def find_installed() -> dict[str, Path]:
    """Return the libraries of NVIDIA's wheels by soname, such as libcudnn.so.8."""
    spec = PathFinder.find_spec("nvidia")
    found: dict[str, Path] = {}
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).glob("*/lib/lib*.so.*")):
            found.setdefault(path.name, path.absolute())
    return found


def find_missing(names: Sequence[str] = tuple(NUMBERED)) -> list[str]:
    """Return the libraries that neither pip nor the system has installed."""
    found = find_installed()
    return [name for name in names if NUMBERED[name] not in found and not _in_system(name)]


def explain_missing() -> str:
    """Return which libraries the imported Paddle lacks to compute on a GPU, with the remedy; "" if none."""
    paddle = sys.modules.get("paddle")
    version = cuda_version(Path(str(paddle.__file__)).parent) if paddle else ""
    if not version.startswith("11."):
        return ""
    wanted = [name for name in NUMBERED if name != "libnccl.so"]
    if lacking := find_missing(wanted):
        return (
            f"Paddle is built for CUDA {version} with cuDNN 8.6, but {', '.join(lacking)} is not found; "
            'run pip install "paddle-alexnet[gpu]"'
        )
    if not _linked and not all(map(_in_system, wanted)):
        return "Paddle was imported first and cannot find the CUDA libraries; import paddle_alexnet before paddle"
    return ""


def preload(paddle: Path) -> None:
    """Load the library of the Paddle in a folder so that it finds the libraries of NVIDIA's wheels.

    Do nothing for a build without CUDA 11, or without such wheels.
    """
    if sys.platform != "linux" or not cuda_version(paddle).startswith("11."):
        return
    nvidia = find_installed()
    if not nvidia:
        return
    links = {f"libs/{path.name}": path for path in sorted((paddle / "libs").glob("lib*.so*"))}
    links.update({f"libs/{name}": path for name, path in nvidia.items()})
    links.update({f"libs/{name}": nvidia[numbered] for name, numbered in NUMBERED.items() if numbered in nvidia})
    library = paddle / "base" / "libpaddle.so"  # loads libs/libphi.so
    links["base/libpaddle.so"] = library
    folder = _folder_of(links)
    with suppress(OSError):  # Paddle's own import reports it
        ctypes.CDLL(str(folder / "base" / "libpaddle.so"), mode=sys.getdlopenflags())
        _linked[:] = [folder]


def _folder_of(links: dict[str, Path]) -> Path:
    """Return a folder that holds the links: in the user's cache, or a temporary one if the cache is not writable."""
    key = hashlib.sha256("\n".join(map(str, links.values())).encode(errors="surrogateescape")).hexdigest()[:16]
    try:
        folder = cache_folder() / f"cuda-{key}"
        for name in ("base", "libs"):  # no other user may add a library beside Paddle's
            make_private(folder / name)
            if fault := fault_of_folders(folder / name):
                raise PermissionError(fault)
        _fill(folder, links)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        folder = Path(tempfile.mkdtemp(prefix="paddle-alexnet-cuda-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _fill(folder, links)
    return folder


def _fill(folder: Path, links: dict[str, Path]) -> None:
    for name, path in links.items():
        link = folder / name
        if not (link.is_symlink() and link.readlink() == path):
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            with suppress(FileExistsError):  # another process was first
                link.symlink_to(path)


def _in_system(name: str) -> bool:
    """Return whether the system's loader, or Paddle's additional path for cuDNN, finds a library."""
    for path in (name, f"/usr/local/cuda/lib64/{name}" if name == "libcudnn.so" else name):
        with suppress(OSError):
            ctypes.CDLL(path)
            return True
    return False
