"""What the processors share: norms of gradients, on their own device.

Sums over float16 arrays are taken in float32. A norm is an array with one element, so that nobody waits for a device,
until a number is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lunar_core import backend


def wide(array: Any) -> Any:
    """``array`` in a dtype in which it can be summed."""
    return array.astype("float32") if array.dtype.itemsize < 4 else array


def norm(array: Any) -> Any:
    """The L2 norm of all elements, without axes."""
    xp = backend.of(array).xp
    flat = wide(array).reshape(-1)
    return xp.sqrt((flat * flat).sum())


def unit_norms(array: Any) -> Any:
    """The L2 norm of each unit: over all axes but the first, which are kept; of vectors and scalars the whole norm."""
    xp = backend.of(array).xp
    a = wide(array)
    axes = tuple(range(1, a.ndim)) if a.ndim > 1 else None
    return xp.sqrt((a * a).sum(axis=axes, keepdims=a.ndim > 1))


def global_norm(arrays: Iterable[Any]) -> float:
    """The L2 norm of all arrays together; squares are added up in float64."""
    return float(sum(float(norm(a)) ** 2 for a in arrays) ** 0.5)


def scale(array: Any, factor: Any) -> None:
    """Multiply in place and keep the dtype."""
    array[...] = wide(array) * factor
