"""How many threads the kernels use, and how the threads of two pools live beside each other.

oneDNN brings its OpenMP pool, NumPy's matrix products the pool of OpenBLAS. They take turns in one program: what one runs,
the other waits for. An OpenMP worker that has nothing to do burns its core for a while in case more work comes, and takes it
from OpenBLAS meanwhile; so the burning is kept short (:data:`SPIN`), unless the user has said how to wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lunar_core.errors import HyperparameterError

SPIN = 20_000
"""Turns of an idle OpenMP worker's waiting loop before it sleeps, about 0.2 ms; libgomp's own default is 300,000. Measured on two
cores: with fewer, the kernels of a small network find their workers asleep (3,000: a tenth slower); with more, a product of
OpenBLAS between two kernels waits for the burning worker (100,000 and up: seven times slower)."""

_WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_BLAS_NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


class _Told(threading.local):
    """What this thread was told: libgomp keeps the number of threads for each thread that starts others."""

    count: int | None = None


class _Settings:
    """The process's settings: the OpenMP runtime once it is loaded, the number of threads once it was set."""

    runtime: Any = None
    count: int | None = None


_told = _Told()
_settings = _Settings()
_listeners: list[Callable[[], None]] = []


def attach(shared: Any) -> None:
    """Take control of the OpenMP runtime that the loaded library ``shared`` uses, whichever it is."""
    try:
        shared.omp_get_max_threads.restype = ctypes.c_int  # found in the library's own dependencies
        shared.omp_set_num_threads.argtypes = (ctypes.c_int,)
        shared.omp_set_num_threads.restype = None
    except AttributeError:  # built without OpenMP
        return
    _settings.runtime = shared
    os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    """libgomp's workers do not survive a fork, and a child that asks them to work waits forever: it works alone."""
    _settings.count, _told.count = 1, None
    _changed()


def get() -> int:
    """Threads that the kernels of oneDNN use when called from this thread; 1 while the library is not loaded."""
    if _settings.runtime is None:
        return _settings.count or 1
    adopt()
    return int(_settings.runtime.omp_get_max_threads())


def set(count: int) -> None:
    """Use ``count`` threads for the kernels of oneDNN and for NumPy's matrix products, from now on and in all threads.

    Without this call both take ``OMP_NUM_THREADS``, or else one thread for each core that the process may use.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise HyperparameterError(f"the number of threads must be a positive int, got {count!r}")
    _settings.count = count
    _changed()
    blas = _blas("set")
    if blas is not None:
        blas(count)


def adopt() -> None:
    """Tell the OpenMP runtime how many threads this thread may start, if it was not told yet."""
    runtime, count = _settings.runtime, _settings.count
    if runtime is not None and count is not None and _told.count != count:
        runtime.omp_set_num_threads(count)
        _told.count = count


def blas_threads() -> int | None:
    """Threads of NumPy's matrix products; ``None`` where NumPy's BLAS is not an OpenBLAS of its wheels."""
    function = _blas("get")
    return None if function is None else int(function())


def on_change(listener: Callable[[], None]) -> None:
    """Have ``listener()`` called when the number of threads changes: plans are made for one number."""
    _listeners.append(listener)


def _changed() -> None:
    for listener in _listeners:
        listener()


def _blas(verb: str) -> Callable[..., Any] | None:
    """``openblas_get_num_threads`` or ``openblas_set_num_threads`` of the OpenBLAS that comes with NumPy's wheels."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for path in sorted(folder.glob("lib*openblas*.so*")):
        shared = ctypes.CDLL(str(path))  # loaded already: this is a second handle
        for name in _BLAS_NAMES:
            function = getattr(shared, name.format(verb), None)
            if function is not None:
                function.argtypes = (ctypes.c_int,) if verb == "set" else ()
                function.restype = None if verb == "set" else ctypes.c_int
                return function
    return None


@contextlib.contextmanager
def quiet_workers() -> Iterator[None]:
    """While an OpenMP runtime is loaded, which reads its settings then: shorten the waiting of idle workers.

    Leaves the environment as it was. Does nothing where the user has set one of the variables.
    """
    if any(os.environ.get(name) for name in _WAIT_VARIABLES):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = str(SPIN)
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]
