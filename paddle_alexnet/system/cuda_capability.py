"""CUDA compute capabilities for which a library holds device code.

Paddle 2.6.2 on PyPI holds machine code for 6.1, 7.x and 8.x, and no PTX that the driver could translate for other GPUs.
On an H100 the first layer would fail with "no kernel image is available".
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO, Optional

from paddle_alexnet.system.cuda_libraries import cuda_version

Capability = tuple[int, int]

# Headers of nvcc's containers of device code, as far as known; cuobjdump lists the same entries.
_MAGIC = struct.pack("<I", 0xBA55ED50)
_CONTAINER, _ENTRY = struct.Struct("<4xHHQ"), struct.Struct("<HHIQ12xI")
_PTX, _MACHINE_CODE = 1, 2


def explain_unsupported(capability: Capability, library: Optional[Path] = None) -> str:
    """Return why Paddle cannot compute on a GPU of a compute capability, with the remedy; "" if it can.

    Args:
        library: `paddle/base/libpaddle.so` of Paddle 2, by default the installed one. Without device code it passes.
    """
    library, held = library or _installed(), set()
    for kind, compiled_for in device_code(library) if library else ():
        if runs_on(capability, kind, compiled_for):
            return ""
        held.add((kind, compiled_for))
    if not held:
        return ""
    known = ", ".join(f"{major}.{minor}" for major, minor in sorted({compiled_for for _, compiled_for in held}))
    return (
        f"the GPU has compute capability {capability[0]}.{capability[1]}, this Paddle supports only {known}; "
        "use another GPU, or a GPU build of Paddle 3 (paddlepaddle.org.cn)"
    )


def runs_on(capability: Capability, kind: int, compiled_for: Capability) -> bool:
    """Return whether device code runs on a GPU: machine code within a major capability, PTX on every later GPU."""
    if kind == _PTX:
        return compiled_for <= capability
    return compiled_for[0] == capability[0] and compiled_for <= capability


def device_code(library: Path) -> Iterator[tuple[int, Capability]]:
    """Yield the kind, PTX or machine code, and the capability of each piece of device code in a library."""
    with suppress(OSError, ValueError), open(library, "rb") as stream, _content(stream) as content:
        at = content.find(_MAGIC)
        while 0 <= at <= len(content) - _CONTAINER.size:
            version, header, size = _CONTAINER.unpack_from(content, at)
            end = at + header + size
            if version == 1 and header == _CONTAINER.size and end <= len(content):
                yield from _entries(content, at + header, end)
            at = content.find(_MAGIC, at + len(_MAGIC))


def _content(stream: IO[bytes]) -> mmap.mmap:
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _entries(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, Capability]]:
    while at + _ENTRY.size <= end:
        kind, _, header, size, architecture = _ENTRY.unpack_from(content, at)
        if header < _ENTRY.size:
            return
        if kind in (_PTX, _MACHINE_CODE):
            yield kind, divmod(architecture, 10)
        at += header + size


def _installed() -> Optional[Path]:
    spec = PathFinder.find_spec("paddle")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = (Path(folder, "base", "libpaddle.so") for folder in folders if cuda_version(Path(folder)))
    return next((path for path in found if path.is_file()), None)
