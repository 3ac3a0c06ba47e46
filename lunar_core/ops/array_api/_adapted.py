"""Functions whose arguments or results differ in the standard from those of :mod:`lunar_core.ops`."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

from ... import backend, ops
from ...errors import ShapeError
from ...tensor import Tensor
from ..elementwise import cast


def _as(x: Any, dtype: Any) -> Any:
    return x if dtype is None or x.dtype == dtype else cast(x, dtype=dtype)


def positive(x: Any, /) -> Any:
    """A copy of ``x``."""
    return cast(x, dtype=x.dtype)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """``x`` limited to [min, max], numbers or arrays that broadcast; the dtype stays that of ``x``."""
    return _as(ops.clip(x, min, max), x.dtype)


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Sum over ``axis``, in ``dtype`` if given."""
    return ops.sum(_as(x, dtype), axis, keepdims)


def prod(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Product over ``axis``, in ``dtype`` if given."""
    return ops.prod(_as(x, dtype), axis, keepdims)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running sum along ``axis``, in ``dtype`` if given; under ``include_initial`` after a 0."""
    return ops.cumulative_sum(_as(x, dtype), axis, include_initial)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running product along ``axis``, in ``dtype`` if given; under ``include_initial`` after a 1."""
    return ops.cumulative_prod(_as(x, dtype), axis, include_initial)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """``n``-th differences of neighbours along ``axis``."""
    return ops.diff(x, n, axis, prepend, append)


def expand_dims(x: Any, /, *, axis: Any = 0) -> Any:
    """New axes of size 1 at the places ``axis`` of the result."""
    return ops.expand_dims(x, axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along ``axis``, without that axis."""
    return tuple(ops.unbind(x, axis))


def reshape(x: Any, /, shape: Any, *, copy: builtins.bool | None = None) -> Any:
    """The same elements in another shape; ``copy=False`` refuses where a copy would be needed, ``True`` makes one."""
    out = ops.reshape(x, shape)
    if copy:
        return cast(out, dtype=x.dtype)
    if copy is False and x.size:
        a, b = (v.data if isinstance(v, Tensor) else v for v in (x, out))
        if not backend.of(a).xp.may_share_memory(a, b):
            raise ShapeError(f"reshape: shape {tuple(x.shape)} to {shape} needs a copy", hint="copy=None allows one")
    return out


# -- sets: no gradient -------------------------------------------------------------------------------------------------


class UniqueAll(NamedTuple):
    """What :func:`unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What :func:`unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What :func:`unique_inverse` returns."""

    values: Any
    inverse_indices: Any


def unique_all(x: Any, /) -> UniqueAll:
    """The different elements, the first place of each, the places that rebuild ``x``, and counts; NaNs differ."""
    return UniqueAll(*ops.unique(x, True, True, True, equal_nan=False))


def unique_counts(x: Any, /) -> UniqueCounts:
    """The different elements and how often each occurs."""
    return UniqueCounts(*ops.unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The different elements and the places among them that rebuild ``x``."""
    return UniqueInverse(*ops.unique(x, return_inverse=True, equal_nan=False))


def unique_values(x: Any, /) -> Any:
    """The different elements in ascending order."""
    return ops.unique(x, equal_nan=False)
