"""The kernel provider ``onednn``: heavy ops by oneDNN on the CPU, in float32.

A kernel takes an op's raw arrays and answers ``NotImplemented`` for a signature in which oneDNN has nothing fast, so that
the next provider or the NumPy reference computes it. oneDNN is loaded when the first kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from . import plans, threads
from .convolution import KERNELS as CONVOLUTION
from .elementwise import KERNELS as ELEMENTWISE
from .library import library
from .normalization import KERNELS as NORMALIZATION
from .pooling import KERNELS as POOLING
from .products import KERNELS as PRODUCTS
from .recurrent import KERNELS as RECURRENT
from .softmax import KERNELS as SOFTMAX


class OneDNN:
    """Provider of group ``lunar.kernels``; :data:`provider` is the one that the entry point names."""

    name = "onednn"
    priority = 50
    kernels: Mapping[str, Callable[..., Any]] = MappingProxyType(
        {**CONVOLUTION, **ELEMENTWISE, **NORMALIZATION, **POOLING, **PRODUCTS, **RECURRENT, **SOFTMAX}
    )

    def kernel(self, op: str, array_type: type) -> Callable[..., Any] | None:
        """The function for ``op`` on NumPy arrays; ``None`` for other arrays, other ops, and without the library."""
        if array_type is not np.ndarray or op not in self.kernels or not self.available():
            return None
        return self.kernels[op]

    def available(self) -> bool:
        """Whether the library is there; that it loads is known after the first kernel ran, or :meth:`describe`."""
        return library.path() is not None and not library.reason

    @property
    def reason(self) -> str:
        """Why it is not available; an empty string if it is."""
        library.path()
        return library.reason

    def describe(self) -> dict[str, Any]:
        """What there is to say about it on this machine: version, file, threads. Loads the library."""
        api = library.load()
        if api is None:
            return {"available": False, "reason": library.reason}
        version = api.version
        return {
            "available": True,
            "version": f"{version.major}.{version.minor}.{version.patch}",
            "file": str(library.path()),
            "threads": threads.get(),
            "ops": sorted(self.kernels),
        }

    def clear(self) -> None:
        """Drop what was prepared for the signatures seen so far."""
        plans.clear()


provider = OneDNN()
"""What the entry point names."""
