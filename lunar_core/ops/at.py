"""Functional writing: ``x.at[index].set(value)`` and its relatives give a new array and stay in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor, _raw
from .elementwise import divide, maximum, minimum, multiply
from .indexing import _index_put, _is_basic, index_scatter, read
from .reduction import max_, min_, prod
from .shape import broadcast_to, reshape


def at(x: Any) -> At:
    """``x.at[index]``, the places that ``set``, ``add``, ``multiply``, ``divide``, ``min`` and ``max`` write.

    ``index`` is whatever may stand in ``x[...]``. Each gives a new array of the shape and dtype of ``x``; the gradient
    flows to ``x`` and to the value::

        lc.tensor([1.0, 2.0, 3.0]).at[[0, 2]].add(10.0)  # tensor([11., 2., 13.])
    """
    return At(x)


class At:
    """The first half of ``x.at[index].set(value)``."""

    def __init__(self, x: Any) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self._x, _raw(index))


class AtIndex:
    """Places of an array, to be written."""

    def __init__(self, x: Any, index: Any) -> None:
        self._x = x
        self._index = index

    def get(self) -> Any:
        """What stands at these places: ``x[index]``."""
        return read(self._x, self._index)

    def set(self, value: Any) -> Any:
        """A copy of ``x`` with ``value``, which broadcasts, at these places; repeated places take the last value."""
        return _index_put(self._x, self._fitted(value), index=self._index)

    def add(self, value: Any) -> Any:
        """A copy of ``x`` with ``value`` added at these places; repeated places add up."""
        return self._x + index_scatter(self._fitted(value), shape=tuple(self._x.shape), index=self._index)

    def multiply(self, value: Any) -> Any:
        """A copy of ``x`` multiplied by ``value`` at these places; at repeated ones by each of the values."""
        return self._combine(value, multiply, prod, 1)

    def divide(self, value: Any) -> Any:
        """A copy of ``x`` divided by ``value`` at these places; at repeated ones by each of the values."""
        return self._combine(value, divide, prod, 1)

    def min(self, value: Any) -> Any:
        """A copy of ``x`` lowered to ``value`` at these places where that is smaller; ties share the gradient."""
        return self._combine(value, minimum, min_, _extreme(self._x.dtype, False))

    def max(self, value: Any) -> Any:
        """A copy of ``x`` raised to ``value`` at these places where that is larger; ties share the gradient."""
        return self._combine(value, maximum, max_, _extreme(self._x.dtype, True))

    def _fitted(self, value: Any) -> Any:
        x, index = self._x, self._index
        raw = x.data if isinstance(x, Tensor) else x
        shape = tuple(read(Tensor(raw), index).shape)
        if not isinstance(value, Tensor) and not backend.is_array(value):
            owner = backend.of(raw)
            try:
                value = owner.from_numpy(np.asarray(value, x.dtype), owner.device_of(raw))
            except (TypeError, ValueError) as exc:
                raise DTypeError(f"x.at[...]: expected an array or number, got {value!r}") from exc
        if isinstance(x, Tensor) and not isinstance(value, Tensor):
            value = Tensor(value)
        try:
            return value if tuple(value.shape) == shape else broadcast_to(value, shape)
        except ShapeError as exc:
            raise ShapeError(
                f"x.at[...]: value of shape {tuple(value.shape)} does not fit the indexed shape {shape} of an array of "
                f"shape {tuple(x.shape)}"
            ) from exc

    def _combine(self, value: Any, function: Callable[..., Any], reduce: Callable[..., Any], neutral: Any) -> Any:
        value = self._fitted(value)
        index = self._index
        if _is_basic(index):
            return self.set(function(self.get(), value))
        raw = self._x.data if isinstance(self._x, Tensor) else self._x
        xp = backend.of(raw).xp
        places = xp.arange(raw.size).reshape(raw.shape)[index].reshape(-1)
        found, inverse, counts = xp.unique(places, return_inverse=True, return_counts=True)
        if found.size == places.size:
            return self.set(function(self.get(), value))
        # the values of one place side by side in a row, reduced, then written to places of which none repeats
        order = xp.argsort(inverse, kind="stable")
        starts = xp.cumsum(counts) - counts
        columns = xp.empty_like(inverse)
        columns[order] = xp.arange(places.size) - xp.repeat(starts, [int(n) for n in counts])
        table = xp.full((int(found.size), int(counts.max())), neutral, value.dtype)
        if isinstance(value, Tensor):
            table = Tensor(table)
        rows = reduce(_index_put(table, reshape(value, (-1,)), index=(inverse, columns)), axis=1)
        flat = reshape(self._x, (-1,))
        written = _index_put(flat, function(read(flat, found), rows), index=found)
        return reshape(written, tuple(self._x.shape))


def _extreme(dtype: np.dtype, lowest: bool) -> Any:
    """What every number of ``dtype`` beats as a maximum (``lowest``) or as a minimum."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if lowest else info.max
    return -np.inf if lowest else np.inf
