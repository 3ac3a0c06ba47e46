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
from .floating import round_
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
    """The elements in C order: (n,)."""
    return reshape(a, (-1,))


def _at_least(rank: int, x: Any) -> Any:
    x = _tensor(x)
    if x.ndim >= rank:
        return x
    shapes = {0: (1,) * rank, 1: (1, *x.shape, 1)[3 - rank :][:rank] if rank == 3 else (1, *x.shape), 2: (*x.shape, 1)}
    return reshape(x, shapes[x.ndim])


# -- reductions --------------------------------------------------------------------------------------------------------


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """The mean weighted by ``weights``, of the shape of ``a`` or along ``axis``; ``returned`` adds the sum of the weights."""
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
    """The largest minus the smallest element over ``axis``."""
    return max_(a, axis, keepdims) - min_(a, axis, keepdims)


def _filled(a: Any, value: float) -> Any:
    return where(isnan(a), value, a) if a.dtype.kind in "fcV" else a


def nansum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum of the elements that are no NaN."""
    return sum_(_filled(a, 0.0), axis, keepdims)


def nanprod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product of the elements that are no NaN."""
    return prod(_filled(a, 1.0), axis, keepdims)


def nanmean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean of the elements that are no NaN; NaN where all are."""
    return nansum(a, axis, keepdims) / cast(sum_(~isnan(a), axis, keepdims), dtype=a.dtype)


def nanvar(a: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    """The variance of the elements that are no NaN, divided by their number minus ``correction``."""
    centered = where(isnan(a), 0.0, a - nanmean(a, axis, True))
    count = cast(sum_(~isnan(a), axis, keepdims), dtype=a.dtype)
    return sum_(centered * centered, axis, keepdims) / (count - correction)


def nanstd(a: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    """The root of :func:`nanvar`."""
    return sqrt(nanvar(a, axis, correction, keepdims))


def nanmax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element that is no NaN; NaN where all are."""
    return _nan_extremum(max_, -math.inf, a, axis, keepdims)


def nanmin(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element that is no NaN; NaN where all are."""
    return _nan_extremum(min_, math.inf, a, axis, keepdims)


def _nan_extremum(function: Any, fill: float, a: Any, axis: Any, keepdims: bool) -> Any:
    result = function(_filled(a, fill), axis, keepdims)
    if a.dtype.kind not in "fV":
        return result
    return where(_all_nan(a, axis, keepdims), math.nan, result)


def _all_nan(a: Any, axis: Any, keepdims: bool) -> Any:
    from .reduction import all_

    return all_(isnan(a), axis, keepdims)


def nancumsum(a: Any, axis: int | None = None) -> Any:
    """The running sum along ``axis`` in which NaN counts as 0."""
    return cumsum(_filled(a, 0.0), axis)


def nancumprod(a: Any, axis: int | None = None) -> Any:
    """The running product along ``axis`` in which NaN counts as 1."""
    return cumprod(_filled(a, 1.0), axis)


def nanquantile(a: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Any:
    """:func:`quantile` of the elements that are no NaN, by its methods; slices of NaN alone give NaN."""
    whole: dict[str, Any] = {"lower": floor, "higher": ceil, "nearest": round_}
    if method not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise ShapeError(f"nanquantile: method must be linear, lower, higher, nearest or midpoint, got {method!r}")
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
        if method in whole:
            position = whole[method](position)
        low, high = (cast(f(position), dtype=np.dtype(np.intp)) for f in (floor, ceil))
        below, above = take_along_axis(ordered, low, -1), take_along_axis(ordered, high, -1)
        weight = 0.5 if method == "midpoint" else cast(position - low, dtype=a.dtype)
        results.append(reshape(below + (above - below) * weight, kept))
    return reshape(stack(results), (*host.shape, *kept))


def nanmedian(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median of the elements that are no NaN, the mean of the middle two of an even number."""
    return nanquantile(a, 0.5, axis, keepdims)


def nanpercentile(a: Any, q: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """:func:`nanquantile` of ``q / 100``."""
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
    """:func:`quantile` of ``q / 100``."""
    raw = q.data if isinstance(q, Tensor) else q
    host = backend.of(raw).to_numpy(raw) if backend.is_array(raw) else raw
    return quantile(a, np.asarray(host) / 100, axis, keepdims, method)


def _rows(x: Any, rowvar: bool) -> Any:
    x = _at_least(2, _tensor(x))
    return x.T if not rowvar and x.shape[0] != 1 else x


def _covariance(m: Any, y: Any, rowvar: bool, correction: float, counts: Any = None, weights: Any = None) -> Any:
    x = _rows(m, rowvar)
    if x.ndim > 2:
        raise ShapeError(f"cov: expected a matrix or a vector, got shape {tuple(x.shape)}")
    if y is not None:
        x = concat([x, _rows(y, rowvar)], axis=0)
    share = _column_weights(counts, weights, x)
    if share is None:
        centered = x - mean(x, 1, True)
        scaled, total = centered, x.shape[1] - correction
    else:
        whole = sum_(share)
        centered = x - sum_(x * share, 1, True) / whole
        scaled = centered * share
        # the bias of weights that are no counts grows with their squares (numpy.cov)
        total = whole - correction * (1 if weights is None else sum_(share * _tensor(weights)) / whole)
    other = centered.conj() if x.dtype.kind == "c" else centered
    return matmul(scaled, other.T) / total


def _column_weights(counts: Any, weights: Any, x: Any) -> Any:
    """The product of both kinds of weights of the columns of ``x``; ``None`` where there are none."""
    share = None
    for name, w in (("fweights", counts), ("aweights", weights)):
        if w is None:
            continue
        w = _tensor(w)
        if tuple(w.shape) != (x.shape[1],):
            raise ShapeError(f"cov: {name} of shape {tuple(w.shape)} for {x.shape[1]} observations")
        if name == "fweights" and w.dtype.kind not in "iu":
            raise DTypeError(f"cov: fweights count observations and are integers, got {w.dtype}")
        raw = w.data
        if isinstance(raw, np.ndarray) and raw.size and raw.min() < 0:  # on a device this would wait for it
            raise ShapeError(f"cov: {name} must not be negative, got {raw.min()}")
        w = cast(w, dtype=x.real.dtype)
        share = w if share is None else share * w
    return share


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    correction: float | None = None,
    fweights: Any = None,
    aweights: Any = None,
) -> Any:
    """The covariance matrix of the rows of ``m`` (of the columns without ``rowvar``), and of ``y`` beneath it.

    ``fweights`` says how often each observation occurs, ``aweights`` how much it counts; ``correction`` (1, or 0 with
    ``bias``) is what is taken off the number of observations.
    """
    out = _covariance(m, y, rowvar, float(not bias) if correction is None else correction, fweights, aweights)
    return reshape(out, tuple(n for n in out.shape if n != 1)) if out.size == 1 else out


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    """The correlation coefficients of the rows of ``x`` (of the columns without ``rowvar``), and of ``y`` beneath it."""
    c = _covariance(x, y, rowvar, 1.0)
    scale = sqrt(diagonal(c).real)
    out = c / expand_dims(scale, 1) / expand_dims(scale, 0)
    return reshape(out, ()) if out.size == 1 else out


def _trapezoids(y: Any, x: Any, dx: float, axis: int) -> Any:
    """The areas between neighbours along ``axis``."""
    head = (slice(None),) * axis
    middle = (y[(*head, slice(1, None))] + y[(*head, slice(0, -1))]) * 0.5
    if x is None:
        return middle * dx
    x = _tensor(x)
    steps = diff(x, axis=-1 if x.ndim == 1 else axis)
    if steps.ndim == 1:
        steps = reshape(steps, (-1,) + (1,) * (y.ndim - axis - 1))
    return middle * steps


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of ``y`` along ``axis`` by the trapezoidal rule, over the points ``x`` or ``dx`` apart."""
    axis = normalize_axis(axis, y.ndim, "trapezoid")[0]
    return sum_(_trapezoids(y, x, dx, axis), axis)


def cumulative_trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The running integral by the trapezoidal rule, one value fewer than ``y`` has along ``axis``."""
    axis = normalize_axis(axis, y.ndim, "cumulative_trapezoid")[0]
    return cumsum(_trapezoids(y, x, dx, axis), axis)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in the flattened array, between ``to_begin`` and ``to_end``."""
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
    """Sum of products over the last axes of both."""
    a, b = _tensor(a), _tensor(b)
    return multiply(a, b) if not a.ndim or not b.ndim else tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


def vdot(a: Any, b: Any) -> Any:
    """The inner product of the flattened arrays; a complex ``a`` is conjugated."""
    return vecdot(ravel(_tensor(a)), ravel(_tensor(b)))


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The discrete convolution of two vectors; ``mode`` is ``full``, ``same`` or ``valid``."""
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
    """The cross-correlation of two vectors; ``mode`` is ``valid``, ``same`` or ``full``; ``v`` is conjugated."""
    a, v = _tensor(a), _tensor(v)
    out = convolve(a, flip(v.conj() if v.dtype.kind == "c" else v, 0), mode)
    return out


def matvec(a: Any, v: Any) -> Any:
    """Matrices (..., m, n) times vectors (..., n) -> (..., m)."""
    return matmul(a, expand_dims(v, -1))[..., 0]


def vecmat(v: Any, a: Any) -> Any:
    """Conjugated vectors (..., m) times matrices (..., m, n) -> (..., n)."""
    v = v.conj() if v.dtype.kind == "c" else v
    return matmul(expand_dims(v, -2), a)[..., 0, :]
