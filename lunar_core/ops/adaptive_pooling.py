"""Adaptive pooling: the mean or the maximum of as many bins as asked for, whatever the size of the images.

Bin i of o over n pixels reaches from ``floor(i * n / o)`` to ``ceil((i + 1) * n / o)``, as in PyTorch: bins cover everything,
differ in size by one where o does not divide n, and overlap there. Both pools work along one axis after the other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from . import average_pooling, max_pooling
from .common import wide
from .pooling import beside, laid_out
from .unpooling import pick
from .windows import (
    Ints,
    channels_first,
    check_images,
    empty_like_images,
    hashable,
    is_channels_last,
    is_int,
    moved_last,
)


@functools.lru_cache(maxsize=256)
def _bins(size: int, count: int) -> tuple[tuple[int, int], ...]:
    return tuple((i * size // count, -(-(i + 1) * size // count)) for i in range(count))


# -- means -------------------------------------------------------------------------------------------------------------


def _resized(xp: Any, x: Any, axis: int, count: int) -> Any:
    shape = list(x.shape)
    shape[axis] = count
    return empty_like_images(xp, x, tuple(shape), x.dtype)


def _mean_forward(xp: Any, x: Any, counts: Ints) -> Any:
    if wide(x.dtype):
        return _mean_forward(xp, x.astype(np.float32), counts).astype(x.dtype)
    for axis, count in enumerate(counts, 2):
        if x.shape[axis] == count:
            continue
        at = (slice(None),) * axis
        out = _resized(xp, x, axis, count)
        for i, (low, high) in enumerate(_bins(x.shape[axis], count)):
            out[(*at, i)] = x[(*at, slice(low, high))].sum(axis=axis) * (1.0 / (high - low))
        x = out
    return x


def _mean_grad_forward(xp: Any, g: Any, size: Ints) -> Any:
    if wide(g.dtype):
        return _mean_grad_forward(xp, g.astype(np.float32), size).astype(g.dtype)
    for axis, n in enumerate(size, 2):
        count = g.shape[axis]
        if count == n:
            continue
        at = (slice(None),) * axis
        out = _resized(xp, g, axis, n)
        out[...] = 0
        for i, (low, high) in enumerate(_bins(n, count)):
            target = out[(*at, slice(low, high))]
            target += g[(*at, slice(i, i + 1))] * (1.0 / (high - low))
        g = out
    return g


# (images, bins)
_CASES: list[tuple[tuple[int, ...], Ints]] = [
    ((2, 2, 5), (3,)),
    ((1, 3, 4), (6,)),
    ((2, 2, 5, 7), (3, 4)),
    ((1, 2, 4, 3), (2, 5)),
    ((2, 1, 6, 5), (6, 2)),
    ((1, 2, 3, 4, 5), (2, 3, 3)),
    ((1, 1, 3, 2, 4), (1, 3, 4)),
]


def _torch(kind: str, counts: Ints) -> Callable[..., Any]:
    def call(t: Any, x: Any) -> Any:
        function = getattr(t.nn.functional, f"adaptive_{kind}_pool{len(counts)}d")
        return function(x, counts, True)[1] if kind == "max" else function(x, counts)

    return call


adaptive_mean = Op(
    "adaptive_mean",
    _mean_forward,
    lambda F, g, shape, need, counts: (F.adaptive_mean_grad(g, size=tuple(shape[2:])),),
    save=Shape(0),
    heavy=True,
    jvp="linear",
    abstract=lambda x, counts: Spec((*x.shape[:2], *counts), x.dtype),
    samples=lambda: [
        Sample((laid_out(i, shape),), {"counts": counts}, torch=_torch("avg", counts))
        for i, (shape, counts) in enumerate(_CASES)
    ],
    doc="The mean of each of ``counts`` bins along every spatial axis.",
)
adaptive_mean_grad = Op(
    "adaptive_mean_grad",
    _mean_grad_forward,
    lambda F, h, shape, need, size: (F.adaptive_mean(h, counts=tuple(shape[2:])),),
    save=Shape(0),
    heavy=True,
    jvp="linear",
    abstract=lambda g, size: Spec((*g.shape[:2], *size), g.dtype),
    samples=lambda: [
        Sample((laid_out(i, (*shape[:2], *counts)),), {"size": shape[2:]}) for i, (shape, counts) in enumerate(_CASES)
    ],
    doc="Each bin's gradient shared among its pixels: the adjoint of adaptive_mean.",
)


# -- maxima ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _steps(size: int, count: int) -> tuple[np.ndarray, ...]:
    """The first pixel of every bin, the second, ...; a bin that has no more gives its last one again."""
    low, high = np.array(_bins(size, count)).T
    return tuple(np.minimum(low + i, high - 1) for i in range(int((high - low).max())))


def _places_forward(xp: Any, x: Any, counts: Ints) -> Any:
    """Along the last axis first: the first largest element of the first row that has it is the first in row-major order."""
    size = x.shape[2:]
    last = not x.flags.c_contiguous and is_channels_last(x)
    y = moved_last(x) if last else x
    place: Any = None  # of the elements of ``y`` in the flattened image, once it is no longer their own
    for axis in reversed(range(len(size))):
        at = axis + (1 if last else 2)
        shape = (-1,) + (1,) * (y.ndim - 1 - at)
        best = best_place = None
        for step in _steps(size[axis], counts[axis]):
            where = beside(x, step, np.dtype(np.int64))
            values = xp.take(y, where, axis=at)
            here = (where * math.prod(size[axis + 1 :])).reshape(shape)
            if place is not None:
                here = here + xp.take(place, where, axis=at)
            if best is None:
                best, best_place = values, xp.broadcast_to(here, values.shape)
                continue
            larger = (values > best) | ((values != values) & (best == best))  # NaN wins
            best = xp.where(larger, values, best)
            best_place = xp.where(larger, here, best_place)
        y, place = best, best_place
    place = xp.ascontiguousarray(place)
    return channels_first(place) if last else place


adaptive_max_places = Op(
    "adaptive_max_places",
    _places_forward,
    abstract=lambda x, counts: Spec((*x.shape[:2], *counts), np.dtype(np.int64)),
    samples=lambda: [
        Sample((laid_out(i, shape),), {"counts": counts}, torch=_torch("max", counts))
        for i, (shape, counts) in enumerate(_CASES)
    ],
    doc="Where in the flattened image the largest element of each of ``counts`` bins along every spatial axis lies.",
)


# -- what a user calls -------------------------------------------------------------------------------------------------


class _Request(NamedTuple):
    size: Ints
    counts: Ints


@functools.lru_cache(maxsize=512)
def _plan(op: str, n: int, x: tuple[int, ...], output_size: Any) -> _Request:
    check_images(x, n, op)
    counts = output_size if isinstance(output_size, tuple) else (output_size,) * n
    if len(counts) != n or not all(c is None or (is_int(c) and c >= 1) for c in counts):
        raise ShapeError(
            f"{op}: output_size must be an int of at least 1 or {n} of them, None for the size of the images, "
            f"got {output_size!r}"
        )
    if min(x[2:]) < 1:
        raise ShapeError(f"{op}: images of size {x[2:]} have no pixels")
    return _Request(x[2:], tuple(m if c is None else int(c) for c, m in zip(counts, x[2:])))


def _request(op: str, n: int, x: Any, output_size: Any) -> _Request:
    if not hasattr(x, "shape"):
        raise DTypeError(f"{op}: expected a tensor or an array, got {type(x).__name__}")
    return _plan(op, n, tuple(x.shape), hashable(output_size))


def _average(n: int, x: Any, output_size: Any) -> Any:
    size, counts = _request(f"adaptive_avg_pool{n}d", n, x, output_size)
    if any(m % c for m, c in zip(size, counts)):
        return adaptive_mean(x, counts=counts)
    kernel = tuple(m // c for m, c in zip(size, counts))
    static = {"kernel": kernel, "stride": kernel, "padding": (0,) * n, "counts": counts, "count_include_pad": True}
    return average_pooling.FAMILIES[n].pool(x, **static)


def _maximum(n: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    size, counts = _request(f"adaptive_max_pool{n}d", n, x, output_size)
    if not any(m % c for m, c in zip(size, counts)):  # bins side by side
        return max_pooling.max_pool(n, x, tuple(m // c for m, c in zip(size, counts)), return_indices=return_indices)
    places = adaptive_max_places(x.detach() if isinstance(x, Tensor) else x, counts=counts)
    out = pick(x, places)
    return (out, places) if return_indices else out


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Any:
    """The means of ``output_size`` bins: x (N, C, L) -> (N, C, output_size); as :func:`adaptive_avg_pool2d`."""
    return _average(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """The means of a grid of bins: x (N, C, H, W) -> (N, C, OH, OW) for images of any size.

    ``output_size`` is an int or a pair (OH, OW), ``None`` for the size of the images. Bin i along an axis of n pixels is
    ``floor(i * n / o) .. ceil((i + 1) * n / o)``, as in PyTorch. Half precision accumulates in float32.

    Raises :class:`ShapeError` for an ``output_size`` that is no such number.
    """
    return _average(2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Any:
    """The means of a grid of bins: x (N, C, D, H, W) -> (N, C, OD, OH, OW); as :func:`adaptive_avg_pool2d`."""
    return _average(3, x, output_size)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of ``output_size`` bins: x (N, C, L) -> (N, C, output_size); as :func:`adaptive_max_pool2d`."""
    return _maximum(1, x, output_size, return_indices)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of a grid of bins: x (N, C, H, W) -> (N, C, OH, OW) for images of any size.

    Bins are those of :func:`adaptive_avg_pool2d`. The gradient goes to the first largest element of a bin, in row order.
    ``return_indices`` also gives the places of the maxima, int64: row * W + column.

    Raises :class:`ShapeError` for an ``output_size`` that is no int of at least 1 or pair of them.
    """
    return _maximum(2, x, output_size, return_indices)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of a grid of bins: x (N, C, D, H, W) -> (N, C, OD, OH, OW); as :func:`adaptive_max_pool2d`."""
    return _maximum(3, x, output_size, return_indices)
