"""Flushing subnormal numbers to zero, which makes CPU training several times faster where activations fade out."""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import sys
from collections.abc import Callable

_FLUSH = 0x8040  # MXCSR: flush to zero (bit 15), denormals are zero (bit 6)
# stmxcsr [rsp-8]; mov eax, [rsp-8]; ret        and        mov [rsp-8], edi; ldmxcsr [rsp-8]; ret
_READ = bytes.fromhex("0fae5c24f8 8b4424f8 c3")
_WRITE = bytes.fromhex("897c24f8 0fae5424f8 c3")


@functools.cache
def _register() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Functions that read and write the control register of SSE; ``None`` where that cannot be done.

    Python has no way to it, so two functions of three instructions each are put into executable memory. They follow the
    System V calling convention, that of Linux, macOS and the BSDs.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.platform == "win32" or sys.maxsize < 2**32:
        return None
    try:
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except (OSError, ValueError):  # a system that forbids memory that is both writable and executable
        return None
    memory.write(_READ.ljust(64, b"\xcc") + _WRITE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    read = ctypes.CFUNCTYPE(ctypes.c_uint32)(start)
    write = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(start + 64)
    _keep.append(memory)
    return read, write


_keep: list[mmap.mmap] = []  # the code must outlive the functions


def set_flush_denormal(mode: bool) -> bool:
    """Treat subnormal numbers (below about 1e-38 in float32) as 0 in this thread, or stop doing so.

    Gives whether it took effect: it does on x86-64 under Linux and macOS, where the system allows executable memory. The
    setting belongs to the thread that calls; threads that it starts later inherit it. Threads of a BLAS that are running
    already do not change, so call it before the first large product, or use one thread.

    The result of an operation that is subnormal becomes 0, and a subnormal input counts as 0. ``np.finfo`` may warn that
    the smallest subnormal is zero.
    """
    register = _register()
    if register is None:
        return False
    read, write = register
    write(read() | _FLUSH if mode else read() & ~_FLUSH)
    return bool(read() & _FLUSH) == bool(mode)
