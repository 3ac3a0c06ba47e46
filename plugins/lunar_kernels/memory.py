"""Memory that arrays have freed stays with the process, ready for the next arrays.

A training step allocates the same arrays again and again. By default glibc gives large blocks back to the system when they
are freed, and the next step pays for every page anew: a quarter to a third of a small network's step. :func:`keep` asks it
not to. The process's peak is the same; it only stays there between steps.
"""

from __future__ import annotations

import ctypes
import os

VARIABLE = "LUNAR_KEEP_MEMORY"
KEPT = 1 << 30
"""Bytes of free memory at the end of the heap beyond which glibc gives back after all."""
MAPPED = 32 << 20
"""Blocks from this size on are mapped and unmapped one by one, whatever is asked for: glibc's largest setting."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


def keep() -> bool:
    """Have glibc keep freed memory; whether it took the settings.

    Does nothing under ``LUNAR_KEEP_MEMORY=0``, with another C library, or where the environment sets malloc's thresholds.
    """
    if os.environ.get(VARIABLE, "1") == "0" or any(name in os.environ for name in _SETTINGS):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # both: setting one of them switches off that the other follows the blocks' sizes
    return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT))
