"""Installation checks: packages, GPU, drivers and folders, each fault with the command to fix it."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path
from typing import Literal, NamedTuple, Optional

from paddle_alexnet.system import cuda_capability as cuda_code
from paddle_alexnet.system import cuda_libraries
from paddle_alexnet.system.limits import available_cores
from paddle_alexnet.system.progress import working
from paddle_alexnet.system.user_cache import cache_folder

_PACKAGE = "paddle-alexnet"
_DRIVER = (450, 80)  # the oldest driver for CUDA 11, by NVIDIA's table of minor version compatibility
_SHARED_MEMORY = 1e9  # bytes of /dev/shm that NCCL should have between several GPUs

# A package, the major version of Paddle that it clashes with, since which version, how, and the version to install.
_CLASHES = (
    ("numpy", 2, (2, 3), "`import paddle, numpy.random` crashes", "numpy>=2.0.2,<2.3"),
    ("numpy", 3, (2, 4), "`paddle.flops` and `float()` of a tensor raise", "numpy>=2.0.2,<2.3"),
    ("protobuf", 2, (7,), "Paddle's settings of distributed training raise", "protobuf<7"),
    ("setuptools", 2, (85,), "Paddle uses easy_install, which newer versions lack", "setuptools<85"),
    ("paddle2onnx", 2, (2,), "it is for Paddle 3", "paddle2onnx==1.3.1"),
)

Versions = Mapping[str, str]  # of the installed packages, by lowercase name


class Check(NamedTuple):
    """The result of one check: fine, a note, or a fault with its remedy."""

    state: Literal["fine", "note", "fault"]
    detail: str
    remedy: str = ""  # a command, or a sentence

    def __str__(self) -> str:
        return f"{self.state:<6} {self.detail}" + (f"\n       -> {self.remedy}" if self.remedy else "")


def examine(*, deep: bool = False) -> list[Check]:
    """Return the results of all checks, without importing Paddle here.

    Args:
        deep: Let Paddle compute in a separate process too; default no.
    """
    versions = installed_versions()
    gpus = graphics_cards()
    checks = [
        *check_python(sys.version_info[:2]),
        *check_paddle(versions),
        *check_packages(versions),
        *check_gpu(gpus, versions),
        *check_libraries(gpus, versions),
        *check_threads(os.environ, available_cores()),
        *check_folders(Path.cwd()),
        *check_extras(versions),
    ]
    return [*checks, *compute(gpus, versions)] if deep else checks


def format_checks(checks: Sequence[Check]) -> str:
    """Return the results as text, one line each with the remedy below it, and the number of faults."""
    faults = sum(check.state == "fault" for check in checks)
    return "\n".join([*map(str, checks), f"{faults or 'no'} fault{'' if faults == 1 else 's'}"])


def installed_versions() -> dict[str, str]:
    """Return the versions of all installed packages by lowercase name."""
    found: dict[str, str] = {}
    for distribution in distributions():
        with suppress(Exception):  # the remains of a package that was removed by hand
            found.setdefault(_name(distribution.metadata["Name"]), distribution.version)
    return found


def graphics_cards() -> Optional[list[dict[str, str]]]:
    """Return name, driver and compute capability of each NVIDIA GPU; None if `nvidia-smi` is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split(", ") for line in result.stdout.splitlines() if line.count(", ") == 2]
    return [dict(zip(("name", "driver", "capability"), row)) for row in rows]


def check_python(python: tuple[int, ...]) -> Iterator[Check]:
    """Check that Paddle has wheels for this Python version."""
    """Check that Paddle has wheels for this Python version."""
    name = f"Python {platform.python_version()}, {platform.platform()}"
    if (3, 9) <= python <= (3, 12):
        yield Check("fine", name)
    else:
        yield Check("fault", f"{name}: Paddle 2.6.2 has wheels for Python 3.9 to 3.12", "make PYTHON=python3.11")


def check_paddle(versions: Versions) -> Iterator[Check]:
    """Check that exactly one supported build of Paddle is installed."""
    """Check that exactly one supported build of Paddle is installed."""
    cpu, gpu = (versions.get(name) for name in ("paddlepaddle", "paddlepaddle-gpu"))
    if cpu and gpu:
        yield Check(
            "fault",
            f"paddlepaddle {cpu} and paddlepaddle-gpu {gpu} are both installed, in one folder",
            f"{_pip('uninstall -y paddlepaddle paddlepaddle-gpu')} && {_extra('gpu')} (or [cpu])",
        )
    elif version := cpu or gpu:
        name = f"Paddle {version}, built for {'CPUs' if cpu else 'GPUs'}"
        if _release(version) < (2, 6, 2):
            extra = "cpu" if cpu else "gpu"
            yield Check("fault", f"{name}: version 2.6.2 or 3 is required", _extra(extra))
        else:
            yield Check("fine", name)
    else:
        yield Check("fault", "Paddle is not installed", f"{_extra('cpu')} (or [gpu])")


def check_packages(versions: Versions) -> Iterator[Check]:
    """Check that the required packages are installed, and that none is of a version that is known to clash."""
    needed = [_requirement(text) for text in _requirements() if "extra ==" not in text]
    absent = [name for name in needed if name not in versions]
    faults = []
    if absent:
        faults.append(Check("fault", f"not installed: {', '.join(absent)}", f"{_pip('install')} {' '.join(absent)}"))
    major = _paddle_major(versions)
    for name, paddle, since, what, wanted in _CLASHES:
        if name in versions and major == paddle and _release(versions[name]) >= since:
            clash = f"{name} {versions[name]} with Paddle {major}: {what}"
            faults.append(Check("fault", clash, f'{_pip("install")} "{wanted}"'))
    if (
        "pandas" in versions
        and _release(versions["pandas"]) >= (3,)
        and _release(versions.get("numpy", "9")) < (2, 0, 2)
    ):
        clash = f"numpy {versions['numpy']} is too old for pandas {versions['pandas']}"
        faults.append(Check("fault", clash, f'{_pip("install")} "numpy>=2.0.2,<2.3"'))
    cuda11 = [name for name in versions if name.startswith("nvidia-") and name.endswith("-cu11")]
    both = [name for name in cuda11 if f"{name[:-1]}2" in versions]
    if both:
        twins = " ".join(f"{name[:-1]}2" for name in both)
        faults.append(
            Check(
                "fault",
                f"{', '.join(both)} and the same packages for CUDA 12 overwrite each other in one folder",
                f"{_pip(f'uninstall -y {twins}')} && {_pip('install --force-reinstall --no-deps')} {' '.join(both)}; "
                "install packages that need CUDA 12, such as PyTorch, into another environment",
            )
        )
    yield from faults or [Check("fine", "all required packages, none that is known to clash")]
    if "tensorflow" in versions or "tensorflow-cpu" in versions:
        yield Check("note", "TensorFlow crashes if it is imported before Paddle", "import paddle_alexnet first")


def check_gpu(gpus: Optional[list[dict[str, str]]], versions: Versions) -> Iterator[Check]:
    """Check that Paddle can use the GPUs that `nvidia-smi` lists."""
    """Check that Paddle can use the GPUs that `nvidia-smi` lists."""
    built_for_gpu = "paddlepaddle-gpu" in versions
    if not gpus and built_for_gpu:
        remedy = "if this machine has one: install NVIDIA's driver; start a container with --gpus all"
        yield Check("note", "nvidia-smi lists no GPU; Paddle computes on the CPU", remedy)
    elif not gpus:
        yield Check("fine", "no NVIDIA GPU; Paddle computes on the CPU")
    if not gpus:
        return
    for gpu in gpus:
        yield Check("fine", f"{gpu['name']}, driver {gpu['driver']}")
    driver = gpus[0]["driver"]
    if not built_for_gpu:
        yield Check(
            "note",
            "Paddle is built for CPUs and does not use the GPU",
            f"{_pip('uninstall -y paddlepaddle')} && {_extra('gpu')}",
        )
    elif _paddle_major(versions) == 2:
        if _release(driver) < _DRIVER:
            yield Check("fault", f"driver {driver} is too old for CUDA 11.8", "install driver 520 or newer")
        for number, gpu in enumerate(gpus):
            major, _, minor = gpu["capability"].partition(".")
            if (
                major.isdecimal()
                and minor.isdecimal()
                and (reason := cuda_code.explain_unsupported((int(major), int(minor))))
            ):
                yield Check("fault", f"gpu:{number}: {reason}", "use the CPU in the meantime: train -o device=cpu")


def check_libraries(gpus: Optional[list[dict[str, str]]], versions: Versions) -> Iterator[Check]:
    """Check the CUDA libraries of a GPU build of Paddle 2, and the shared memory between GPUs."""
    if "paddlepaddle-gpu" in versions and _paddle_major(versions) == 2:
        lacking = cuda_libraries.find_missing()
        for_several = [name for name in lacking if name == "libnccl.so"]
        for_any = [name for name in lacking if name not in for_several]
        if for_any:
            detail = f"CUDA 11.8 and cuDNN 8.6: {', '.join(for_any)} not found"
            yield Check("fault" if gpus else "note", detail, _extra("gpu"))
        else:
            yield Check("fine", "CUDA 11.8 and cuDNN 8.6: all libraries found")
        if for_several:
            several = len(gpus or ()) > 1
            detail = "NCCL: libnccl.so not found; training on several GPUs requires it"
            yield Check("fault" if several else "note", detail, _extra("gpu"))
    with suppress(OSError):
        size = shutil.disk_usage("/dev/shm").total
        short = size < _SHARED_MEMORY
        yield Check(
            "note" if short else "fine",
            f"shared memory: {size / 1e6:,.0f} MB" + ("; several GPUs require 1 GB" if short else ""),
            "docker run --shm-size=1g" if short else "",
        )


def check_threads(environment: Mapping[str, str], available: int, *, machine: Optional[int] = None) -> Iterator[Check]:
    """Compare the threads that Paddle computes with to the cores that this process may use."""
    machine = machine or os.cpu_count() or available
    of = f" of {machine}, by affinity or a quota" if machine > available else ""
    cores = f"usable cores: {available}{of}"
    threads = environment.get("OMP_NUM_THREADS", str(available)).split(",")[0]
    if threads == str(available):
        yield Check("fine", f"{cores}; Paddle computes with {threads} threads")
    elif threads.isdecimal():
        fewer = int(threads) < available
        why = "the other cores are idle" if fewer else "the threads compete for cores"
        yield Check("note", f"{cores}, but OMP_NUM_THREADS={threads}; {why}", "unset OMP_NUM_THREADS")
    else:
        yield Check("fault", f"OMP_NUM_THREADS={threads} is not a number", "unset OMP_NUM_THREADS")


def check_folders(here: Path) -> Iterator[Check]:
    """Check that the working folder and the user's cache are writable."""
    with suppress(RuntimeError):  # no home folder
        cache = cache_folder().parent
        if _writable(cache):
            yield Check("fine", f"cache: {cache}")
        else:
            yield Check("note", f"{cache} is not writable; nothing is cached", "export XDG_CACHE_HOME=FOLDER")
    if _writable(here):
        yield Check("fine", f"{shutil.disk_usage(here).free / 1e9:,.1f} GB free in {here}")
    else:
        yield Check("note", f"{here} is not writable", "name another folder: train -o output=FOLDER")


def check_extras(versions: Versions) -> Iterator[Check]:
    """List the installed and missing extras, and the compiler."""
    packages: dict[str, list[str]] = {}
    for text in _requirements():
        if match := re.search(r"""extra == ['"]([\w-]+)['"]""", text):
            packages.setdefault(match[1], []).append(_requirement(text))
    absent = {}
    for extra, names in packages.items():
        if extra not in ("cpu", "gpu", "paddle3", "dev", "docs"):
            absent[extra] = [name for name in names if name not in versions]
    here = [extra for extra, names in absent.items() if not names]
    if here:
        yield Check("fine", f"extras: {', '.join(sorted(here))}")
    if others := {extra: names for extra, names in absent.items() if names}:
        listed = "; ".join(f"{extra} ({', '.join(names)})" for extra, names in sorted(others.items()))
        yield Check("fine", f"extras not installed: {listed}", f"as needed: {_extra(','.join(sorted(others)))}")
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler:
        yield Check("fine", f"compiler: {compiler}")
    else:
        yield Check("fine", "no C++ compiler; only compiled kernels require one", "Debian: apt install g++")


def compute(gpus: Optional[list[dict[str, str]]], versions: Versions) -> Iterator[Check]:
    """Compute a convolution with Paddle on each kind of device, in a process that may crash."""
    for device in ("cpu", "gpu:0") if gpus and "paddlepaddle-gpu" in versions else ("cpu",):
        program = (
            "import sys, paddle_alexnet, paddle\nfrom paddle_alexnet.system.device import use_device\n"
            "use_device(sys.argv[1])\n"
            "y = paddle.nn.Conv2D(3, 8, 11)(paddle.ones([2, 3, 32, 32])).sum()\n"
            "y.backward(); print(float(y.numpy()))"
        )
        try:
            command = [sys.executable, "-c", program, device]
            with working(f"computing on {device}"):
                result = subprocess.run(command, capture_output=True, text=True, timeout=300)
            errors, code = result.stderr.strip(), result.returncode
        except subprocess.TimeoutExpired:
            errors, code = "no result within 300 s", 1
        if code == 0:
            yield Check("fine", f"Paddle computes on {device}")
        else:
            why = errors.splitlines()[-1] if code > 0 and errors else f"the process was ended by signal {-code}"
            yield Check("fault", f"Paddle does not compute on {device}: {why}", "fix the faults above first")


def _paddle_major(versions: Versions) -> int:
    version = versions.get("paddlepaddle-gpu") or versions.get("paddlepaddle") or "0"
    return (_release(version) or (0,))[0]


def _release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _requirements() -> list[str]:
    try:
        return requires(_PACKAGE) or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        return []


def _requirement(text: str) -> str:
    """Return the package name of a requirement."""
    return _name(re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0])


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _pip(words: str) -> str:
    """Return a command for the pip of this Python."""
    own = shutil.which("python") == sys.executable
    return f"{'python' if own else shlex.quote(sys.executable)} -m pip {words}"


def _extra(names: str) -> str:
    """Return a command that installs extras of this package, in a checkout or outside one."""
    return f'{_pip("install")} "paddle-alexnet[{names}]"'


def _writable(folder: Path) -> bool:
    """Return whether a file can be created in a folder, or the folder itself if it does not exist."""
    nearest = next((path for path in (folder, *folder.absolute().parents) if os.path.exists(path)), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return True
    except OSError:
        return False
