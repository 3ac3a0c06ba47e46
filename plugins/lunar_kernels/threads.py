"""The threads of oneDNN beside those of NumPy's BLAS.

oneDNN brings its OpenMP pool, NumPy's matrix products the pool of OpenBLAS; the number of both is that of
``lunar_core.set_num_threads``. They take turns in one program: what one runs, the other waits for. An OpenMP worker that has
nothing to do burns its core for a while in case more work comes, and takes it from OpenBLAS meanwhile; so the burning is
kept short (:data:`SPIN`), unless the user has said how to wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lunar_core.threads import get_num_threads, on_change

SPIN = 20_000
"""Turns of an idle OpenMP worker's waiting loop before it sleeps, about 0.2 ms; libgomp's own default is 300,000. Measured on two
cores: with fewer, the kernels of a small network find their workers asleep (3,000: a tenth slower); with more, a product of
OpenBLAS between two kernels waits for the burning worker (100,000 and up: seven times slower)."""

_WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class _Told(threading.local):
    """What this thread was told: libgomp keeps the number of threads for each thread that starts others."""

    count: int | None = None


class _Process:
    """The OpenMP runtime once it is loaded; whether this is a forked child, which has lost the runtime's workers."""

    runtime: Any = None
    forked = False


_told = _Told()
_process = _Process()


def attach(shared: Any) -> None:
    """Take control of the OpenMP runtime that the loaded library ``shared`` uses, whichever it is."""
    try:
        shared.omp_get_max_threads.restype = ctypes.c_int  # found in the library's own dependencies
        shared.omp_set_num_threads.argtypes = (ctypes.c_int,)
        shared.omp_set_num_threads.restype = None
    except AttributeError:  # built without OpenMP
        return
    _process.runtime = shared


def get() -> int:
    """Threads that the kernels of oneDNN use."""
    return 1 if _process.forked else get_num_threads()


def adopt() -> None:
    """Tell the OpenMP runtime how many threads this thread may start, if it was not told yet."""
    count = get()
    if _process.runtime is not None and _told.count != count:
        _process.runtime.omp_set_num_threads(count)
        _told.count = count


def forget_on_change(forget: Callable[[], None]) -> None:
    """Have ``forget()`` called when the number of threads changes, and in forked children: plans are made for one number."""

    def in_child() -> None:
        # libgomp's workers do not survive a fork, and a child that asks them to work waits forever: it works alone
        _process.forked, _told.count = True, None
        forget()

    on_change(lambda _: forget())
    os.register_at_fork(after_in_child=in_child)


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
