"""New tensors of a given content: zeros, ones, full, arange, linspace, eye and the ``_like`` forms.

``dtype`` is the default dtype unless given; ``device`` the default device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..dtypes import as_dtype
from ..modes import modes
from ..tensor import Tensor


def _place(array: np.ndarray, device: str | None, requires_grad: bool) -> Tensor:
    device = device or modes.device
    return Tensor(backend.for_device(device).from_numpy(array, device), requires_grad)


def _dtype(dtype: Any) -> np.dtype:
    return modes.dtype if dtype is None else as_dtype(dtype)


def full(shape: Any, value: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``shape`` with every element ``value``; ints and bools keep their kind when no dtype is given."""
    if dtype is None and isinstance(value, (bool, int)):
        dtype = type(value)
    return _place(np.full(shape, value, _dtype(dtype)), device, requires_grad)


def zeros(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``shape`` filled with 0."""
    return _place(np.zeros(shape, _dtype(dtype)), device, requires_grad)


def ones(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``shape`` filled with 1."""
    return _place(np.ones(shape, _dtype(dtype)), device, requires_grad)


def empty(shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """A tensor of ``shape`` whose values are not set."""
    return _place(np.empty(shape, _dtype(dtype)), device, False)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: str | None = None) -> Tensor:
    """Values from ``start`` (0 when only one bound is given) up to, not including, ``stop``; ints make int64."""
    if stop is None:
        start, stop = 0, start
    array = np.arange(start, stop, step)
    if dtype is not None:
        array = array.astype(as_dtype(dtype))
    elif array.dtype == np.float64:
        array = array.astype(modes.dtype)
    return _place(array, device, False)


def linspace(start: float, stop: float, num: int, dtype: Any = None, device: str | None = None) -> Tensor:
    """``num`` evenly spaced values from ``start`` to ``stop``, both included."""
    return _place(np.linspace(start, stop, num, dtype=_dtype(dtype)), device, False)


def eye(n: int, m: int | None = None, dtype: Any = None, device: str | None = None) -> Tensor:
    """The (n, m) matrix with ones on the diagonal; square when ``m`` is left out."""
    return _place(np.eye(n, m, dtype=_dtype(dtype)), device, False)


def _like(x: Any, value: Any, dtype: Any, requires_grad: bool) -> Tensor:
    raw = x.data if isinstance(x, Tensor) else x
    xp = backend.of(raw).xp
    return Tensor(xp.full_like(raw, value, dtype=None if dtype is None else as_dtype(dtype)), requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape, dtype and device of ``x``."""
    return _like(x, 0, dtype, requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape, dtype and device of ``x``."""
    return _like(x, 1, dtype, requires_grad)


def full_like(x: Any, value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A constant of the shape, dtype and device of ``x``."""
    return _like(x, value, dtype, requires_grad)
