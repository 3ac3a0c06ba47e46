"""New tensors of a given content: zeros, ones, full, arange, linspace, logspace, eye, tril_indices and the ``_like`` forms.

``dtype`` is the default dtype unless given; ``device`` the default device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..dtypes import as_dtype
from ..errors import ShapeError
from ..modes import modes
from ..tensor import Tensor, backend_matches


def _place(array: np.ndarray, device: str | None, requires_grad: bool) -> Tensor:
    device = device or modes.device
    return Tensor(backend.for_device(device).from_numpy(array, device), requires_grad)


def _dtype(dtype: Any) -> np.dtype:
    return modes.dtype if dtype is None else as_dtype(dtype)


def _made(function: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    """What NumPy's ``function`` makes; arguments that it cannot use are named as ours."""
    try:
        array: np.ndarray = function(*args, **kwargs)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as exc:
        raise ShapeError(f"{function.__name__}{args}: {exc}") from exc
    return array


def full(
    shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ``shape`` with every element ``fill_value``; ints, bools and complex numbers keep their kind when no dtype is
    given.
    """
    if dtype is None and isinstance(fill_value, (bool, int)):
        dtype = type(fill_value)
    elif dtype is None and isinstance(fill_value, complex):
        dtype = np.result_type(modes.dtype, np.complex64)
    return _place(_made(np.full, shape, fill_value, _dtype(dtype)), device, requires_grad)


def zeros(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``shape`` filled with 0."""
    return _place(_made(np.zeros, shape, _dtype(dtype)), device, requires_grad)


def ones(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ``shape`` filled with 1."""
    return _place(_made(np.ones, shape, _dtype(dtype)), device, requires_grad)


def empty(shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """A tensor of ``shape`` whose values are not set."""
    return _place(_made(np.empty, shape, _dtype(dtype)), device, False)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: str | None = None) -> Tensor:
    """Values from ``start`` (0 when only one bound is given) up to, not including, ``stop``; ints make int64."""
    if stop is None:
        start, stop = 0, start
    array = _made(np.arange, start, stop, step)
    if dtype is not None:
        array = array.astype(as_dtype(dtype))
    elif array.dtype == np.float64:
        array = array.astype(modes.dtype)
    return _place(array, device, False)


def linspace(
    start: complex, stop: complex, num: int, dtype: Any = None, device: str | None = None, endpoint: bool = True
) -> Tensor:
    """``num`` evenly spaced values from ``start`` to ``stop``, which is left out unless ``endpoint``."""
    if dtype is None and (isinstance(start, complex) or isinstance(stop, complex)):
        dtype = np.result_type(modes.dtype, np.complex64)
    return _place(_made(np.linspace, start, stop, num, endpoint=endpoint, dtype=_dtype(dtype)), device, False)


def logspace(
    start: float,
    stop: float,
    num: int,
    base: float = 10.0,
    dtype: Any = None,
    device: str | None = None,
    endpoint: bool = True,
) -> Tensor:
    """``base`` to the powers of :func:`linspace`: ``num`` values from ``base ** start`` to ``base ** stop``."""
    array = _made(np.logspace, start, stop, num, endpoint=endpoint, base=base)
    return _place(array.astype(_dtype(dtype)), device, False)


def tril_indices(n: int, k: int = 0, m: int | None = None, device: str | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and below the ``k``-th diagonal of an (n, m) matrix: ``x[tril_indices(3)]``."""
    rows, columns = (_place(index, device, False) for index in _made(np.tril_indices, n, k, m))
    return rows, columns


def triu_indices(n: int, k: int = 0, m: int | None = None, device: str | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and above the ``k``-th diagonal of an (n, m) matrix: ``x[triu_indices(3)]``."""
    rows, columns = (_place(index, device, False) for index in _made(np.triu_indices, n, k, m))
    return rows, columns


def eye(n: int, m: int | None = None, dtype: Any = None, device: str | None = None, k: int = 0) -> Tensor:
    """The (n, m) matrix with ones on the ``k``-th diagonal; square when ``m`` is left out."""
    return _place(_made(np.eye, n, m, k, dtype=_dtype(dtype)), device, False)


def _like(x: Any, value: Any, dtype: Any, requires_grad: bool, device: str | None) -> Tensor:
    raw = x.data if isinstance(x, Tensor) else x
    owner = backend.of(raw)
    dtype = None if dtype is None else as_dtype(dtype)
    if device is None or backend_matches(raw, device):
        return Tensor(owner.xp.full_like(raw, value, dtype=dtype), requires_grad)
    return _place(np.full(raw.shape, value, dtype or raw.dtype), device, requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Zeros of the shape of ``x``, and of its dtype and device unless others are given."""
    return _like(x, 0, dtype, requires_grad, device)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Ones of the shape of ``x``, and of its dtype and device unless others are given."""
    return _like(x, 1, dtype, requires_grad, device)


def empty_like(x: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """A tensor of the shape of ``x`` whose values are not set, of its dtype and device unless others are given."""
    return _like(x, 0, dtype, False, device)  # as fast: the pages are handed out zeroed


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """A constant of the shape of ``x``, and of its dtype and device unless others are given."""
    return _like(x, fill_value, dtype, requires_grad, device)
