"""The environment of a run: device, processor, threads and versions."""

import json
import platform
import shlex
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paddle_alexnet.system.errors import UserError
from paddle_alexnet.system.files import read_small, write_text
from paddle_alexnet.system.limits import computing_threads
from paddle_alexnet.system.typed_values import check_types

_PACKAGES = ("paddle-alexnet", "paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "numpy", "pillow")


def environment(device: str) -> dict[str, str]:
    """Return device, processor, threads, system, versions, start time and command as text."""
    found = {"device": device}
    if device.startswith("gpu"):
        import paddle

        found["GPU"] = paddle.device.cuda.get_device_name(device)
    found["processor"] = _processor()
    found["threads"] = str(computing_threads())
    found["system"] = platform.platform()
    found["Python"] = platform.python_version()
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    found["started"] = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
    found["command"] = shlex.join([sys.executable, *sys.argv])
    return found


def save_environment(place: Path, device: str) -> None:
    """Write the current environment as JSON. Raises UserError if the file cannot be written."""
    write_text(place, json.dumps(environment(device), indent=2, ensure_ascii=False) + "\n")


def read_environment(place: Path) -> dict[str, str]:
    """Read a file of `save_environment`; a missing one is empty. Raises UserError for another file."""
    if not place.exists():
        return {}
    try:
        return check_types(dict[str, str], json.loads(read_small(place, at_most=100_000)))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: is not the environment of a run ({error}); move it away") from None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
