"""Running sums, products and extrema along an axis, and differences: cumulative_sum, cumprod, cummax, cummin, diff."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from .common import array, complex_array, normalize_axis, wide
from .elementwise import not_equal
from .indexing import scatter_along_axis
from .reduction import _like, cumsum
from .shape import broadcast_to, concat


def _axis(x: Any, axis: int | None, op: str) -> tuple[Any, int]:
    if axis is None:
        return x.reshape((-1,)), 0
    if not isinstance(axis, (int, np.integer)):
        raise ShapeError(f"{op}: axis must be an int or None, got {axis!r}")
    return x, normalize_axis(axis, x.ndim, op)[0]


def _part(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, stop),)


# -- sums and differences ----------------------------------------------------------------------------------------------


def _cumulative(running: Any, start: int, x: Any, axis: int | None, include_initial: bool, op: str) -> Any:
    if axis is None:
        if x.ndim > 1:
            raise ShapeError(f"{op}: an array of shape {tuple(x.shape)} needs an axis", hint=f"{op}(x, axis=0)")
        x, axis = x.reshape((-1,)), 0
    axis = normalize_axis(axis, x.ndim, op)[0]
    out = running(x, axis)
    if include_initial:
        first = _like(np.full((*out.shape[:axis], 1, *out.shape[axis + 1 :]), start, out.dtype), out)
        out = concat([first, out], axis=axis)
    return out


def cumulative_sum(x: Any, axis: int | None = None, include_initial: bool = False) -> Any:
    """Running sum along ``axis``, after a 0 under ``include_initial``; only one axis need not be named."""
    return _cumulative(cumsum, 0, x, axis, include_initial, "cumulative_sum")


def cumulative_prod(x: Any, axis: int | None = None, include_initial: bool = False) -> Any:
    """Running product along ``axis``, after a 1 under ``include_initial``; only one axis need not be named."""
    return _cumulative(cumprod, 1, x, axis, include_initial, "cumulative_prod")


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """``n``-th differences of neighbours along ``axis``: ``x[1:] - x[:-1]``, taken ``n`` times (``np.diff``).

    ``prepend`` and ``append`` are numbers or arrays put before and after ``x`` first. Bools differ by exclusive or.
    """
    x, axis = _axis(x, axis, "diff")
    if n < 0:
        raise ShapeError(f"diff: n must not be negative, got {n}")
    edges = []
    for edge in (prepend, append):
        if edge is not None and not getattr(edge, "ndim", 0):
            size = tuple(1 if i == axis else s for i, s in enumerate(x.shape))
            edge = broadcast_to(_like(np.asarray(edge, x.dtype), x) if not hasattr(edge, "ndim") else edge, size)
        edges.append(edge)
    if n and (prepend is not None or append is not None):
        x = concat([part for part in (edges[0], x, edges[1]) if part is not None], axis=axis)
    for _ in range(n):
        after, before = x[_part(axis, 1, None)], x[_part(axis, 0, -1)]
        x = not_equal(after, before) if x.dtype == np.bool_ else after - before
    return x


# -- products ----------------------------------------------------------------------------------------------------------


def _recur_backward(F: Any, b: Any, a: Any, axis: int) -> Any:
    """``s[i] = b[i] + a[i] * s[i + 1]`` along ``axis``, by doubling: log2(n) steps over whole arrays."""
    n = b.shape[axis]
    reach = 1
    while reach < n:
        head, tail = _part(axis, 0, n - reach), _part(axis, reach, None)
        last = _part(axis, n - reach, None)
        b = F.concat([b[head] + a[head] * b[tail], b[last]], axis=axis)
        if 2 * reach < n:
            a = F.concat([a[head] * a[tail], a[last]], axis=axis)
        reach *= 2
    return b


def _cumprod_forward(xp: Any, x: Any, axis: int) -> Any:
    if wide(x.dtype):
        return xp.cumprod(x, axis=axis, dtype=np.float32).astype(x.dtype)
    return xp.cumprod(x, axis=axis)


def _cumprod_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    """``grad[i] = y[i - 1] * sum_{k >= i} g[k] x[i + 1] ... x[k]``: no division, so zeros are exact."""
    x, y = saved
    if not x.size:
        return (g,)
    if g.dtype.kind == "c":
        x, y = F.conjugate(x), F.conjugate(y)
    ahead = x[_part(axis, 1, None)]
    ends = _like(np.ones((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype), x)
    tails = _recur_backward(F, g, F.concat([ahead, ends], axis=axis), axis)
    return (tails * F.concat([ends, y[_part(axis, 0, -1)]], axis=axis),)


def _cumprod_samples() -> list[Sample]:
    with_zeros = np.array([[2.0, 0.0, -3.0, 1.5], [0.0, 1.5, 0.0, 2.0]])
    arrays = [
        (array(0, (5,)), 0), (array(1, (2, 3)), 1), (array(2, (7, 2)), 0), (array(4, (2, 1)), 1), (with_zeros, 1),
        (complex_array(3, (2, 4)), 1),
    ]  # fmt: skip
    return [Sample((x,), {"axis": axis}, torch=lambda t, x, axis=axis: t.cumprod(x, axis)) for x, axis in arrays]


_cumprod = Op(
    "cumprod",
    _cumprod_forward,
    _cumprod_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=lambda x, axis: Spec(x.shape, np.cumprod(np.ones(1, x.dtype)).dtype),
    samples=_cumprod_samples,
    doc="Running product along an axis.",
)


def cumprod(x: Any, axis: int | None = None) -> Any:
    """Running product along ``axis``, of the flattened array when ``None``; the gradient is exact where elements are 0."""
    x, axis = _axis(x, axis, "cumprod")
    return _cumprod(x, axis=axis)


# -- extrema -----------------------------------------------------------------------------------------------------------


def _running(xp: Any, ufunc: str, x: Any, axis: int) -> Any:
    function = getattr(xp, ufunc)
    if xp is np:
        return function.accumulate(x, axis=axis)
    reach, n = 1, x.shape[axis]
    while reach < n:  # other libraries cannot accumulate by every ufunc
        moved = function(x[_part(axis, reach, None)], x[_part(axis, 0, n - reach)])
        x = xp.concatenate([x[_part(axis, 0, reach)], moved], axis=axis)
        reach *= 2
    return x


def _extremum_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    # to the last element so far that equals the running extremum; once there is a NaN, to the last NaN
    x, y = saved
    hit = F.logical_or(x == y, F.isnan(x))
    places = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    latest = F.cummax(F.where(hit, _like(places, x), 0), axis=axis)
    return (scatter_along_axis(g, latest, shape=tuple(x.shape), axis=axis),)


def _extremum(name: str) -> Op:
    ufunc = name[3:] + "imum"

    def samples() -> list[Sample]:
        ties = np.array([[1.0, 1.0, 0.5, 2.0, 2.0, 2.5]]) * (1 if name == "cummax" else -1)
        table: list[tuple[Any, int]] = [(array(0, (6,)), 0), (array(1, (2, 5)), 1), (array(2, (5, 3)), 0)]
        return [
            *[
                Sample((x,), {"axis": axis}, True, lambda t, x, axis=axis: getattr(t, name)(x, axis)[0])
                for x, axis in table
            ],
            Sample((ties,), {"axis": 1}, False, lambda t, x: getattr(t, name)(x, 1)[0]),
        ]

    return Op(
        name,
        lambda xp, x, axis: _running(xp, ufunc, x, axis),
        _extremum_vjp,
        save=(0, OUTPUT),
        abstract=lambda x, axis: x,
        samples=samples,
        doc=f"Running {ufunc} along an axis.",
    )


_cummax = _extremum("cummax")
_cummin = _extremum("cummin")


def cummax(x: Any, axis: int | None = None) -> Any:
    """Running maximum along ``axis``, of the flattened array when ``None``: the values only; NaN stays.

    Of equal elements the last one so far gets the gradient, as in PyTorch.
    """
    return _ordered(_cummax, x, axis)


def cummin(x: Any, axis: int | None = None) -> Any:
    """Running minimum along ``axis``, of the flattened array when ``None``: the values only; NaN stays.

    Of equal elements the last one so far gets the gradient, as in PyTorch.
    """
    return _ordered(_cummin, x, axis)


def _ordered(op: Op, x: Any, axis: int | None) -> Any:
    x, axis = _axis(x, axis, op.name)
    if x.dtype.kind == "c":
        raise DTypeError(f"{op.name}: complex numbers have no order")
    return op(x, axis=axis)
