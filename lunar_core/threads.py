"""How many threads NumPy's matrix products use.

NumPy's wheels bring an OpenBLAS with a pool of its own, one thread a core unless ``OMP_NUM_THREADS`` or
``OPENBLAS_NUM_THREADS`` says otherwise when NumPy is imported; this module asks and changes the number afterwards. For
small products one thread is the better choice: two wait for each other, and on a busy machine they wait long.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import HyperparameterError

_NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


def get_num_threads() -> int | None:
    """Threads of NumPy's matrix products; ``None`` where NumPy's BLAS is not the OpenBLAS of its wheels."""
    function = _blas("get")
    return None if function is None else int(function())


def set_num_threads(count: int) -> bool:
    """Use ``count`` threads for NumPy's matrix products from now on; False where that cannot be changed."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise HyperparameterError(f"the number of threads must be a positive int, got {count!r}")
    function = _blas("set")
    if function is not None:
        function(count)
    return function is not None


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
