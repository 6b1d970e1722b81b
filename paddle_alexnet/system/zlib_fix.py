"""A fix for zlib crashes in programs that import Paddle 2.6 first.

Paddle's library exports the functions of an old zlib and loads the system's libz.so.1, which then calls Paddle's
functions instead of its own and crashes: in gzip, in Pillow's PNG, in `numpy.savez_compressed`.
"""

import ctypes
import mmap
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from itertools import count

_SYMBOLS, _RELOCATIONS, _CALLS = 6, (7, 8), (23, 2)  # tags of <elf.h>: a table, or a table and its size in bytes
_ADDRESS_KINDS = (6, 7)  # R_X86_64_GLOB_DAT and R_X86_64_JUMP_SLOT, which hold the address of a function


class _LinkMap(ctypes.Structure):
    """A loaded library in the layout of <link.h>; `dlopen` returns a pointer to it."""

    _fields_ = [
        ("base", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.POINTER(ctypes.c_uint64 * 2)),
    ]


def restore() -> None:
    """Make the loaded libz.so.1, if any, call its own functions; warn if memory protection prevents it."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return  # other systems bind such calls within the library, or have no wheel of Paddle 2.6
    try:
        libz = ctypes.CDLL("libz.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return  # it is not loaded
    system = ctypes.CDLL(None, use_errno=True)
    for slot, address in _foreign(_LinkMap.from_address(libz._handle)):
        page = slot - slot % mmap.PAGESIZE
        if system.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE):
            warnings.warn("compressed files may crash this process; import paddle_alexnet before paddle", stacklevel=2)
            return
        ctypes.c_uint64.from_address(slot).value = address


def _foreign(library: _LinkMap) -> Iterator[tuple[int, int]]:
    """Yield each slot that holds the address of another library's function, with the address of the library's own."""
    tables: dict[int, int] = {}
    for number in count():
        tag, value = library.dynamic[number]
        if tag == 0:
            break
        tables[tag] = value
    for table, size in (_RELOCATIONS, _CALLS):
        for at in range(tables.get(table, 0), tables.get(table, 0) + tables.get(size, 0), 24):
            offset, info, _ = (ctypes.c_uint64 * 3).from_address(at)
            symbol = tables[_SYMBOLS] + 24 * (info >> 32)
            defined_here = ctypes.c_uint16.from_address(symbol + 6).value
            slot, own = library.base + offset, library.base + ctypes.c_uint64.from_address(symbol + 8).value
            is_own = info & 0xFFFFFFFF in _ADDRESS_KINDS and defined_here
            if is_own and ctypes.c_uint64.from_address(slot).value != own:
                yield slot, own
