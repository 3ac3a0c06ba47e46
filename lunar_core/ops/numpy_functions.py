"""Differentiable counterparts of NumPy functions that no op is named after: joins, splits, NaN-skipping reductions, ...

Each means what NumPy's function of that name does; :mod:`lunar_core.ops.numpy_protocol` calls it when a NumPy function meets
a Tensor, so it is reached as ``np.vstack([x, y])``. ``FUNCTIONS`` and ``LINALG`` are the tables, by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from .common import normalize_axis
from .creation import empty_like, full_like, ones_like, zeros_like
from .elementwise import (
    absolute,
    cast,
    floor_divide,
    isnan,
    logaddexp,
    maximum,
    minimum,
    power,
    remainder,
    sin,
    trunc,
    where,
)  # fmt: skip
from .floating import copysign, round_
from .inverse import inv, solve
from .linalg import einsum
from .matrix import matrix_norm
from .numpy_statistics import (
    _at_least,
    _tensor,
    average,
    convolve,
    corrcoef,
    correlate,
    cov,
    ediff1d,
    gradient,
    inner,
    interp,
    matvec,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    percentile,
    polyval,
    ptp,
    ravel,
    trapezoid,
    vdot,
    vecmat,
)
from .rearrange import diag, diagonal
from .reduction import _like, norm
from .reduction import sum as sum_
from .scatter import nonzero, take
from .shape import concat, expand_dims, flip, moveaxis, reshape, split, stack, transpose
from .sorting import sort

# -- shapes, joins and splits ------------------------------------------------------------------------------------------


def _each(rank: int, arys: Any) -> Any:
    out = tuple(_at_least(rank, x) for x in arys)
    return out[0] if len(out) == 1 else out


def atleast_1d(*arys: Any) -> Any:
    """The arrays with at least one axis; one array alone, several in a tuple."""
    return _each(1, arys)


def atleast_2d(*arys: Any) -> Any:
    """The arrays with at least two axes, new ones in front; one array alone, several in a tuple."""
    return _each(2, arys)


def atleast_3d(*arys: Any) -> Any:
    """The arrays with at least three axes, new ones on both sides; one array alone, several in a tuple."""
    return _each(3, arys)


def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with the flattened ``v`` on its ``k``-th diagonal."""
    return diag(ravel(v), k)


def hstack(tup: Any) -> Any:
    """The arrays side by side: joined along axis 1, vectors along axis 0."""
    arrays = [_at_least(1, x) for x in tup]
    return concat(arrays, axis=0 if arrays[0].ndim == 1 else 1)


def vstack(tup: Any) -> Any:
    """The arrays beneath each other: joined along axis 0, a vector is a row."""
    return concat([_at_least(2, x) for x in tup], axis=0)


def dstack(tup: Any) -> Any:
    """The arrays behind each other: joined along axis 2."""
    return concat([_at_least(3, x) for x in tup], axis=2)


def column_stack(tup: Any) -> Any:
    """The arrays side by side along axis 1; a vector is a column."""
    arrays = [_at_least(1, x) for x in tup]
    return concat([expand_dims(x, 1) if x.ndim == 1 else x for x in arrays], axis=1)


def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` behind ``arr`` along ``axis``, both flattened when ``None``."""
    return concat([_tensor(arr), _tensor(values)], axis=axis)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along ``axis``, a number of them or at positions; the first ones are longer where it does not come out even."""
    axis = normalize_axis(axis, ary.ndim, "array_split")[0]
    if isinstance(indices_or_sections, (int, np.integer)):
        if indices_or_sections < 1:
            raise ShapeError(f"array_split: expected at least one section, got {indices_or_sections}")
        size, longer = divmod(ary.shape[axis], int(indices_or_sections))
        lengths = [size + 1] * longer + [size] * (int(indices_or_sections) - longer)
        indices_or_sections = np.cumsum(lengths)[:-1].tolist()
    return split(ary, indices_or_sections, axis)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along axis 1, of a vector along axis 0."""
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along axis 0."""
    return split(ary, indices_or_sections, 0)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along axis 2."""
    return split(ary, indices_or_sections, 2)


def fliplr(m: Any) -> Any:
    """The order of axis 1 reversed."""
    return flip(m, 1)


def flipud(m: Any) -> Any:
    """The order of axis 0 reversed."""
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by ``k`` right angles in the plane of ``axes``, from the first towards the second."""
    if len(axes) != 2:
        raise ShapeError(f"rot90: expected two axes, got {axes!r}")
    a, b = normalize_axis(axes, m.ndim, "rot90")
    order = list(range(m.ndim))
    order[a], order[b] = b, a
    k %= 4
    if k == 2:
        return flip(m, (a, b))
    if k == 0:
        return m
    return transpose(flip(m, b), order) if k == 1 else flip(transpose(m, order), b)


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """``axis`` moved in front of axis ``start``; :func:`moveaxis` is clearer."""
    axis = normalize_axis(axis, a.ndim, "rollaxis")[0]
    start = start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - (axis < start))


def resize(a: Any, new_shape: Any) -> Any:
    """The elements repeated in order until ``new_shape`` is full."""
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    count = math.prod(shape)
    places = np.arange(count) % max(a.size, 1)
    return reshape(take(ravel(a), _like(places, a)), shape)


def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """``arr`` without the positions ``obj`` along ``axis``, flattened when ``None``."""
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = normalize_axis(axis, arr.ndim, "delete")[0]
    kept = np.delete(np.arange(arr.shape[axis]), obj)
    return take(arr, _like(kept, arr), axis)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """``arr`` with ``values`` in front of the one position ``obj`` along ``axis``, flattened when ``None``."""
    if axis is None:
        arr, axis = ravel(arr), 0
    if not isinstance(obj, (int, np.integer)):
        raise DTypeError("np.insert of a Tensor takes one position", hint="lc.ops.concat joins slices")
    axis = normalize_axis(axis, arr.ndim, "insert")[0]
    at = int(obj) + (arr.shape[axis] if obj < 0 else 0)
    head, tail = split(arr, [at], axis)
    values = _tensor(values)
    if values.ndim < arr.ndim:
        values = (
            expand_dims(values, axis)
            if values.ndim == arr.ndim - 1
            else values + 0 * head[(slice(None),) * axis + (slice(0, 1),)]
        )
    return concat([head, values, tail], axis=axis)


def extract(condition: Any, arr: Any) -> Any:
    """The elements of the flattened ``arr`` where ``condition`` holds."""
    return compress(ravel(_tensor(condition)), ravel(arr))


def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    """The slices along ``axis`` where ``condition`` holds, of the flattened array when ``None``."""
    if axis is None:
        a, axis = ravel(a), 0
    return take(a, nonzero(_tensor(condition))[0], axis)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For each element the choice of the first condition that holds, else ``default``."""
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        result = where(condition, choice, result)
    return result


def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    return nonzero(condition) if x is None and y is None else where(condition, x, y)


def block(arrays: Any) -> Any:
    """Nested lists joined from the inside out: the innermost along the last axis."""

    def depth(part: Any) -> int:
        return 1 + max(map(depth, part)) if isinstance(part, list) else 0

    levels = depth(arrays)

    def rank(part: Any) -> int:
        return max(map(rank, part)) if isinstance(part, list) else _tensor(part).ndim

    dims = max(levels, rank(arrays))

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            x = _tensor(part)
            return reshape(x, (1,) * (dims - x.ndim) + tuple(x.shape))
        return concat([joined(p, level - 1) for p in part], axis=-level)

    return joined(arrays, levels)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of the vector ``x`` as columns, the highest first unless ``increasing``."""
    powers = range(x.shape[0] if N is None else N)
    return stack([x**n for n in (powers if increasing else reversed(powers))], axis=-1)


def tensorsolve(a: Any, b: Any) -> Any:
    """The x of ``tensordot(a, x, x.ndim) == b``."""
    tail = a.shape[b.ndim :]
    return reshape(solve(reshape(a, (b.size, -1)), ravel(b)), tuple(tail))


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of ``a`` as a linear map from its last axes to its first ``ind`` ones."""
    head, tail = tuple(a.shape[:ind]), tuple(a.shape[ind:])
    return reshape(inv(reshape(a, (math.prod(head), -1))), tail + head)


def astype(x: Any, dtype: Any, copy: bool = True) -> Any:
    return cast(x, dtype=np.dtype(dtype)) if copy or x.dtype != dtype else x


def copy(a: Any) -> Any:
    """A copy, in the graph."""
    return cast(a, dtype=a.dtype)


# -- ufuncs ------------------------------------------------------------------------------------------------------------


def fmax(x: Any, y: Any) -> Any:
    """The larger of both; a NaN counts only where both are."""
    return where(isnan(_tensor(x)), y, where(isnan(_tensor(y)), x, maximum(x, y)))


def fmin(x: Any, y: Any) -> Any:
    """The smaller of both; a NaN counts only where both are."""
    return where(isnan(_tensor(x)), y, where(isnan(_tensor(y)), x, minimum(x, y)))


def fmod(x: Any, y: Any) -> Any:
    """The remainder of the division towards 0, with the sign of ``x``."""
    out = remainder(absolute(_tensor(x)), absolute(_tensor(y)))
    return copysign(out, x) if out.dtype.kind == "f" else where(_tensor(x) < 0, -out, out)


def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``, 1 at 0."""
    zero = x == 0
    safe = where(zero, 1.0, x) * math.pi
    # beside 0, where the quotient has no slope of its own, the series 1 - (pi x)^2 / 6 has the right ones
    return where(zero, 1.0 - (math.pi * x) ** 2 / 6, sin(safe) / safe)


def _double(x: Any) -> Any:
    x = _tensor(x)
    return cast(x, dtype=np.dtype(np.complex128 if x.dtype.kind == "c" else np.float64))


def frexp(x: Any) -> Any:
    """Mantissa in [0.5, 1) and exponent of 2, whose product is ``x``; the mantissa is differentiable."""
    exponent = Tensor(backend.of(x.data).xp.frexp(x.data)[1])
    return x * cast(power(2.0, -exponent), dtype=x.dtype), exponent


def heaviside(x: Any, y: Any) -> Any:
    """0 below 0, 1 above, ``y`` at 0."""
    x = _tensor(x)
    return where(isnan(x), x, where(x == 0, y, cast(x > 0, dtype=x.dtype)))


_LN2 = math.log(2)
FUNCTIONS: dict[str, Any] = {
    **{f.__name__: f for f in (
            astype, block, interp, nancumprod, nancumsum, nanmedian, nanpercentile, nanquantile, polyval, vander,
        append, array_split, average, column_stack, compress, convolve, copy, corrcoef, correlate, cov, delete, dsplit, dstack,
        ediff1d, empty_like, extract, fliplr, flipud, full_like, gradient, hsplit, hstack, inner, insert, nanmean, nanprod,
        nanstd, nansum, nanvar, ones_like, percentile, ptp, ravel, resize, rollaxis, rot90, select, trapezoid, vdot, vsplit,
        vstack, zeros_like, nanmax, nanmin, matvec, vecmat, fmax, fmin, fmod, sinc, frexp, heaviside,
        atleast_1d, atleast_2d, atleast_3d, diagflat,
    )},
    "where": where_,
    "around": round_,
    "transpose": lambda a, axes=None: transpose(a, axes),
    "partition": lambda a, kth, axis=-1: sort(a, axis),
    "degrees": lambda x: x * (180 / math.pi),
    "rad2deg": lambda x: x * (180 / math.pi),
    "deg2rad": lambda x: x * (math.pi / 180),
    "radians": lambda x: x * (math.pi / 180),
    "divmod": lambda x, y: (floor_divide(x, y), remainder(x, y)),
    "fabs": absolute,
    "float_power": lambda x, y: power(_double(x), y),
    "ldexp": lambda x, n: x * power(2.0, n),
    "logaddexp2": lambda x, y: logaddexp(x * _LN2, y * _LN2) / _LN2,
    "modf": lambda x: (x - trunc(x), trunc(x)),
    "positive": copy,
}  # fmt: skip

# -- numpy.linalg ------------------------------------------------------------------------------------------------------


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    pair = isinstance(axis, tuple) and len(axis) == 2
    if pair or (axis is None and ord is not None and x.ndim == 2):
        return matrix_norm(x, "fro" if ord is None else ord, axis if pair else (-2, -1), keepdims)
    return norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)


def _cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        from .decompositions import svdvals

        values = svdvals(x)
        return values[..., 0] / values[..., -1] if p != -2 else values[..., -1] / values[..., 0]
    return matrix_norm(x, p) * matrix_norm(inv(x), p)


def _multi_dot(arrays: Any) -> Any:
    arrays = [_tensor(a) for a in arrays]
    letters = "abcdefghijklmnopqrstuvwxyz"
    first, last = arrays[0].ndim == 1, arrays[-1].ndim == 1
    terms = [letters[i : i + 2] for i in range(len(arrays))]
    if first:
        terms[0] = terms[0][1]
    if last:
        terms[-1] = terms[-1][0]
    output = ("" if first else letters[0]) + ("" if last else letters[len(arrays)])
    return einsum(",".join(terms) + "->" + output, *arrays)


def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    from .decompositions import svd, svdvals

    return svd(a, full_matrices) if compute_uv else svdvals(a)


LINALG: dict[str, Any] = {
    "norm": _norm,
    "cond": _cond,
    "multi_dot": _multi_dot,
    "svd": _svd,
    "tensorsolve": tensorsolve,
    "tensorinv": tensorinv,
    "trace": lambda x, *, offset=0: sum_(diagonal(x, offset, -2, -1), -1),
    "diagonal": lambda x, *, offset=0: diagonal(x, offset, -2, -1),
}
