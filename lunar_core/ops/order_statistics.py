"""The k-th smallest and the most frequent elements along an axis: kthvalue, mode."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..tensor import _raw
from .common import normalize_axis
from .indexing import take_along_axis
from .reduction import _like, argmax
from .scan import cummax
from .shape import squeeze
from .sorting import argsort


class Chosen(NamedTuple):
    """What :func:`kthvalue` and :func:`mode` return."""

    values: Any
    indices: Any


def _at(x: Any, places: Any, axis: int, keepdims: bool) -> Chosen:
    values = take_along_axis(x, places, axis)
    return Chosen(values, places) if keepdims else Chosen(squeeze(values, axis), squeeze(places, axis))


def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> Chosen:
    """The ``k``-th smallest element along ``axis``, counted from 1, and its position; the first of equal ones comes first."""
    axis = normalize_axis(axis, x.ndim, "kthvalue")[0]
    if not 1 <= k <= x.shape[axis]:
        raise ShapeError(f"kthvalue: k must lie in 1..{x.shape[axis]} along axis {axis}, got {k}")
    order = argsort(x, axis)
    return _at(x, order[(slice(None),) * axis + (slice(k - 1, k),)], axis, keepdims)


def mode(x: Any, axis: int = -1, keepdims: bool = False) -> Chosen:
    """The most frequent element along ``axis``, the smallest of several, and its last position. A NaN equals no other."""
    axis = normalize_axis(axis, x.ndim, "mode")[0]
    n = x.shape[axis]
    if not n:
        raise ShapeError(f"mode: axis {axis} of shape {tuple(x.shape)} is empty")
    fixed = _raw(x)
    order = argsort(fixed, axis)
    ordered = take_along_axis(fixed, order, axis)
    front = (slice(None),) * axis
    along = (n,) + (1,) * (x.ndim - axis - 1)
    # where a stretch of equal elements begins; the longest one ends at the largest distance from its beginning
    place = _like(np.arange(n).reshape(along), fixed) + order * 0
    begins = place * 0
    begins[(*front, slice(1, None))] = place[(*front, slice(1, None))] * (
        ordered[(*front, slice(1, None))] != ordered[(*front, slice(0, -1))]
    )
    length = place - cummax(begins, axis)
    last = argmax(length, axis, keepdims=True)
    places = take_along_axis(order, last, axis)
    return _at(x, type(x)(places) if fixed is not x else places, axis, keepdims)


__all__ = ["kthvalue", "mode"]
