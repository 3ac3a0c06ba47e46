"""Counterparts of NumPy's statistics and products of vectors: NaN-skipping reductions, averages, covariances, convolution.

Each means what NumPy's function of that name does; :mod:`lunar_core.ops.numpy_functions` has the table of all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from .common import normalize_axis
from .creation import full_like
from .elementwise import (
    cast,
    ceil,
    floor,
    isnan,
    maximum,
    minimum,
    multiply,
    sqrt,
    where,
)  # fmt: skip
from .indexing import take_along_axis
from .linalg import matmul, tensordot
from .matrix import vecdot
from .rearrange import diagonal
from .reduction import _like, cumsum, max_, mean, min_, prod
from .reduction import sum as sum_
from .scan import cumprod, diff
from .scatter import take
from .shape import concat, expand_dims, flip, reshape, stack, transpose
from .sorting import quantile, searchsorted, sort


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def ravel(a: Any) -> Any:
    return reshape(a, (-1,))


def _at_least(rank: int, x: Any) -> Any:
    x = _tensor(x)
    if x.ndim >= rank:
        return x
    shapes = {0: (1,) * rank, 1: (1, *x.shape, 1)[3 - rank :][:rank] if rank == 3 else (1, *x.shape), 2: (*x.shape, 1)}
    return reshape(x, shapes[x.ndim])


# -- reductions --------------------------------------------------------------------------------------------------------


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    if weights is None:
        result = mean(a, axis, keepdims)
        total = full_like(result, a.size / max(result.size, 1))
        return (result, total) if returned else result
    weights = _tensor(weights)
    if weights.ndim != a.ndim and axis is not None:
        at = normalize_axis(axis, a.ndim, "average")
        weights = reshape(weights, tuple(n if i in at else 1 for i, n in enumerate(a.shape)))
    total = sum_(weights + 0 * a.detach(), axis, keepdims)
    result = sum_(a * weights, axis, keepdims) / total
    return (result, total) if returned else result


def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return max_(a, axis, keepdims) - min_(a, axis, keepdims)


def _filled(a: Any, value: float) -> Any:
    return where(isnan(a), value, a) if a.dtype.kind in "fcV" else a


def nansum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return sum_(_filled(a, 0.0), axis, keepdims)


def nanprod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return prod(_filled(a, 1.0), axis, keepdims)


def nanmean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return nansum(a, axis, keepdims) / cast(sum_(~isnan(a), axis, keepdims), dtype=a.dtype)


def nanvar(a: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    centered = where(isnan(a), 0.0, a - nanmean(a, axis, True))
    count = cast(sum_(~isnan(a), axis, keepdims), dtype=a.dtype)
    return sum_(centered * centered, axis, keepdims) / (count - correction)


def nanstd(a: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    return sqrt(nanvar(a, axis, correction, keepdims))


def _nan_extremum(function: Any, fill: float) -> Any:
    def extremum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        result = function(_filled(a, fill), axis, keepdims)
        if a.dtype.kind not in "fV":
            return result
        return where(_all_nan(a, axis, keepdims), math.nan, result)

    return extremum


def _all_nan(a: Any, axis: Any, keepdims: bool) -> Any:
    from .reduction import all_

    return all_(isnan(a), axis, keepdims)


def nancumsum(a: Any, axis: int | None = None) -> Any:
    return cumsum(_filled(a, 0.0), axis)


def nancumprod(a: Any, axis: int | None = None) -> Any:
    return cumprod(_filled(a, 1.0), axis)


def nanquantile(a: Any, q: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The ``linear`` method over the elements that are no NaN; slices of NaN alone give NaN."""
    axes = normalize_axis(axis, a.ndim, "nanquantile")
    rest = tuple(i for i in range(a.ndim) if i not in axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(a.shape)) if keepdims else tuple(a.shape[i] for i in rest)
    ordered = sort(reshape(transpose(a, rest + axes), (*[a.shape[i] for i in rest], -1)))  # NaNs come last
    last = maximum(sum_(~isnan(ordered), -1, True) - 1, 0)
    host = np.asarray(q, np.float64)
    if not ((host >= 0) & (host <= 1)).all():
        raise ShapeError(f"nanquantile: q must lie in [0, 1], got {host.tolist()}")
    results = []
    for value in host.reshape(-1).tolist():
        position = last * value
        low, high = (cast(f(position), dtype=np.dtype(np.intp)) for f in (floor, ceil))
        below, above = take_along_axis(ordered, low, -1), take_along_axis(ordered, high, -1)
        results.append(reshape(below + (above - below) * cast(position - low, dtype=a.dtype), kept))
    return reshape(stack(results), (*host.shape, *kept))


def nanmedian(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return nanquantile(a, 0.5, axis, keepdims)


def nanpercentile(a: Any, q: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return nanquantile(a, np.asarray(q) / 100, axis, keepdims)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """Piecewise linear through the points (xp, fp), ascending; outside of them ``left`` and ``right`` or the end values."""
    x, xp, fp = _tensor(x), _tensor(xp), _tensor(fp)
    place = minimum(maximum(searchsorted(xp, x.detach(), side="right") - 1, 0), xp.shape[0] - 2)
    x0, x1, f0, f1 = take(xp, place), take(xp, place + 1), take(fp, place), take(fp, place + 1)
    inside = f0 + (f1 - f0) * ((x - x0) / (x1 - x0))
    out = where(x < xp[0], fp[0] if left is None else left, inside)
    return where(x > xp[-1], fp[-1] if right is None else right, out)


def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients ``p``, the highest power first, by Horner's scheme."""
    out = 0 * _tensor(x)
    for coefficient in _tensor(p):
        out = out * x + coefficient
    return out


def percentile(a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    raw = q.data if isinstance(q, Tensor) else q
    host = backend.of(raw).to_numpy(raw) if backend.is_array(raw) else raw
    return quantile(a, np.asarray(host) / 100, axis, keepdims, method)


def _covariance(m: Any, y: Any, rowvar: bool, correction: float) -> Any:
    def rows(x: Any) -> Any:
        x = _at_least(2, x)
        return x.T if not rowvar and x.shape[0] != 1 else x

    x = rows(_tensor(m))
    if y is not None:
        x = concat([x, rows(_tensor(y))], axis=0)
    centered = x - mean(x, 1, True)
    other = centered.conj() if x.dtype.kind == "c" else centered
    return matmul(centered, other.T) / (x.shape[1] - correction)


def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, correction: float | None = None) -> Any:
    out = _covariance(m, y, rowvar, float(not bias) if correction is None else correction)
    return reshape(out, tuple(n for n in out.shape if n != 1)) if out.size == 1 else out


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    c = _covariance(x, y, rowvar, 1.0)
    scale = sqrt(diagonal(c).real)
    out = c / expand_dims(scale, 1) / expand_dims(scale, 0)
    return reshape(out, ()) if out.size == 1 else out


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    axis = normalize_axis(axis, y.ndim, "trapezoid")[0]
    head = (slice(None),) * axis
    middle = (y[(*head, slice(1, None))] + y[(*head, slice(0, -1))]) * 0.5
    if x is None:
        return sum_(middle * dx, axis)
    x = _tensor(x)
    steps = diff(x, axis=-1 if x.ndim == 1 else axis)
    if steps.ndim == 1:
        steps = reshape(steps, (-1,) + (1,) * (y.ndim - axis - 1))
    return sum_(middle * steps, axis)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    parts = [to_begin, diff(ravel(ary)), to_end]
    return concat([ravel(_tensor(p)) for p in parts if p is not None])


def gradient(f: Any, *varargs: Any, axis: Any = None) -> Any:
    """Central differences inside, one-sided ones at the ends; spacings are numbers."""
    axes = normalize_axis(axis, f.ndim, "gradient")
    steps = list(varargs) * len(axes) if len(varargs) == 1 else list(varargs) or [1.0] * len(axes)
    if len(steps) != len(axes) or any(getattr(h, "ndim", 0) for h in steps):
        raise DTypeError("np.gradient of a Tensor takes one spacing, or one number for each axis")
    results = []
    for a, h in zip(axes, steps):
        head = (slice(None),) * a
        inner = (f[(*head, slice(2, None))] - f[(*head, slice(0, -2))]) / (2 * h)
        first, last = (
            (f[(*head, slice(i, j))] - f[(*head, slice(k, i if i else None))]) / h
            for i, j, k in [(1, 2, 0), (f.shape[a] - 1, None, f.shape[a] - 2)]
        )
        results.append(concat([first, inner, last], axis=a))
    return results[0] if len(results) == 1 else tuple(results)


# -- products ----------------------------------------------------------------------------------------------------------


def inner(a: Any, b: Any) -> Any:
    a, b = _tensor(a), _tensor(b)
    return multiply(a, b) if not a.ndim or not b.ndim else tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


def vdot(a: Any, b: Any) -> Any:
    return vecdot(ravel(_tensor(a)), ravel(_tensor(b)))


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = _tensor(a), _tensor(v)
    if a.size < v.size:
        a, v = v, a
    n, m = a.size, v.size
    if a.ndim != 1 or v.ndim != 1 or not m:
        raise ShapeError(f"convolve: expected two vectors that are not empty, got shapes {a.shape} and {v.shape}")
    from .shape import pad

    windows = np.arange(n + m - 1)[:, None] + np.arange(m)
    full = matmul(take(pad(a, (m - 1, m - 1)), _like(windows, a)), flip(v, 0))
    start, length = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    return full[start : start + length]


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = _tensor(a), _tensor(v)
    out = convolve(a, flip(v.conj() if v.dtype.kind == "c" else v, 0), mode)
    return out


def _matvec(a: Any, v: Any) -> Any:
    return matmul(a, expand_dims(v, -1))[..., 0]


def _vecmat(v: Any, a: Any) -> Any:
    v = v.conj() if v.dtype.kind == "c" else v
    return matmul(expand_dims(v, -2), a)[..., 0, :]
