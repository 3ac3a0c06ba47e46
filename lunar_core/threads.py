"""How many threads heavy computations use: one number for fused functions, NumPy's matrix products and kernel providers.

At first it is ``LUNAR_NUM_THREADS`` or ``OMP_NUM_THREADS`` from the environment, or else the number of usable cores. NumPy's
wheels bring an OpenBLAS with a pool of its own, which reads ``OMP_NUM_THREADS`` when NumPy is imported and is told the
number when it changes here. For small products one thread is the better choice: two wait for each other, and on a
busy machine they wait long.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import HyperparameterError

_NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


class _Setting:
    """The number of this process, and who is told when it changes."""

    def __init__(self) -> None:
        self.count = _default()
        self.listeners: list[Callable[[int], None]] = []


def _default() -> int:
    for variable in ("LUNAR_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").partition(",")[0].strip()
        if text.isdigit() and int(text):
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_setting = _Setting()


def get_num_threads() -> int:
    """How many threads one computation may use."""
    return _setting.count


def set_num_threads(count: int) -> bool:
    """Use at most ``count`` threads from now on, in all threads of the program; 1 keeps everything in the caller's.

    Returns whether NumPy's matrix products follow: False where NumPy's BLAS is not the OpenBLAS of its wheels. Raises
    HyperparameterError for anything but a positive int.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise HyperparameterError(f"the number of threads must be a positive int, got {count!r}")
    changed = count != _setting.count
    _setting.count = count
    blas = _blas("set")
    if blas is not None:
        blas(count)
    if changed:
        for listener in _setting.listeners:
            listener(count)
    return blas is not None


def on_change(listener: Callable[[int], None]) -> None:
    """Have ``listener(count)`` called when the number changes."""
    _setting.listeners.append(listener)


def blas_threads() -> int | None:
    """Threads of NumPy's matrix products; ``None`` where NumPy's BLAS is not the OpenBLAS of its wheels."""
    function = _blas("get")
    return None if function is None else int(function())


@functools.cache
def _blas(verb: str) -> Callable[..., Any] | None:
    """The function of the loaded OpenBLAS that gets or sets its number of threads."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for path in sorted(folder.glob("lib*openblas*")):
        shared = ctypes.CDLL(str(path))  # loaded already: this is a second handle
        for name in _NAMES:
            function = getattr(shared, name.format(verb), None)
            if function is not None:
                function.argtypes = (ctypes.c_int,) if verb == "set" else ()
                function.restype = None if verb == "set" else ctypes.c_int
                return function  # type: ignore[no-any-return]
    return None
