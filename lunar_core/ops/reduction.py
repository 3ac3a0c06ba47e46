"""Reductions: sums, means, extrema, norms, positions of extrema.

``axis`` is an int, a tuple of ints or ``None`` for all axes; negative ones count from the end.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..op import OUTPUT, Op, Sample, Shape, Spec
from .common import array, complex_array, normalize_axis, reduced_shape, refuse, speaks_as, wide


def _samples(
    torch_name: str | None = None, *, low: float = -2, high: float = 2, tuples: bool = True, grad: bool = True
) -> Any:
    def make() -> list[Sample]:
        table: list[tuple[tuple[int, ...], Any, bool]] = [
            ((), None, False), ((4,), None, False), ((2, 3), None, True),
            ((2, 3), 0, False), ((2, 3), -1, True), ((2, 3, 2), 1, False),
        ]  # fmt: skip
        if tuples:
            table += [((2, 3, 2), (0, 2), False), ((2, 3, 2), (0, -1), True)]
        samples = []
        for seed, (shape, axis, keepdims) in enumerate(table):
            call = None
            if torch_name is not None:
                call = _torch_call(torch_name, axis, keepdims, len(shape))
            samples.append(Sample((array(seed, shape, low, high),), {"axis": axis, "keepdims": keepdims}, grad, call))
        return samples

    return make


def _torch_call(name: str, axis: Any, keepdims: bool, ndim: int) -> Any:
    dims = tuple(range(ndim)) if axis is None else axis

    def call(torch: Any, x: Any) -> Any:
        function = getattr(torch, name)
        return function(x, dim=dims, keepdim=keepdims) if ndim else function(x, dim=())

    return call


@functools.lru_cache(maxsize=1024)
def _kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """``shape`` with the reduced axes at size 1."""
    axes = normalize_axis(axis, len(shape), "reduction")
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _expand(F: Any, g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """A reduced gradient in the input's shape."""
    if not keepdims and axis is not None:
        g = g.reshape(_kept_shape(shape, axis))
    return F.broadcast_to(g, shape=shape)


def _keep_axes(F: Any, y: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    return y if keepdims else y.reshape(_kept_shape(shape, axis))


def _reduced(ufunc: Any) -> Any:
    def abstract(x: Spec, axis: Any = None, keepdims: bool = False, **static: Any) -> Spec:
        dtype = np.asarray(ufunc(np.ones((1,), x.dtype))).dtype
        return Spec(reduced_shape(x.shape, axis, keepdims, ufunc.__name__), dtype)

    return abstract


def _axes(axis: Any, x: Any, name: str) -> Any:
    """The axis argument, checked; None stays None, which array libraries reduce fastest."""
    if axis is None or (type(axis) is int and -x.ndim <= axis < x.ndim):
        return axis
    return normalize_axis(axis, x.ndim, name)


def _mean_forward(xp: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if wide(x.dtype):
        return xp.asarray(xp.mean(x, axis=axis, dtype=np.float32, keepdims=keepdims)).astype(x.dtype)
    if xp is not np or x.dtype.kind not in "fc":
        return xp.mean(x, axis=axis, keepdims=keepdims)
    total = np.add.reduce(x, axis, None, None, keepdims)  # type: ignore
    n = x.size // total.size if total.size else 0
    if not n:
        return np.mean(x, axis=axis, keepdims=keepdims)
    total = np.asarray(total)
    total /= n
    return total


def _reducer(ufunc: np.ufunc) -> Any:
    """The forward of a reduction by ``ufunc``; NumPy's own ``sum`` and ``max`` spend more time than the work."""
    name = {"add": "sum", "maximum": "max", "minimum": "min"}[ufunc.__name__]
    reduce = ufunc.reduce
    adds = name == "sum"

    def forward(xp: Any, x: Any, axis: Any, keepdims: bool) -> Any:
        if adds and x.dtype.itemsize == 2 and wide(x.dtype):  # the first tests spare most calls the third
            return xp.asarray(xp.sum(x, axis=axis, dtype=np.float32, keepdims=keepdims)).astype(x.dtype)
        if xp is np:
            if axis is None and not keepdims and x.dtype.kind in "fc":  # into an array, where NumPy would give a scalar
                return reduce(x, None, None, np.empty((), x.dtype))
            return reduce(x, axis, None, None, keepdims)  # type: ignore
        return getattr(xp, name)(x, axis=axis, keepdims=keepdims)

    return forward


_sum_forward = _reducer(np.add)


_sum = Op(
    "sum",
    _sum_forward,
    lambda F, g, shape, need, axis, keepdims: (_expand(F, g, shape, axis, keepdims),),
    save=Shape(0),
    cast="float32",
    jvp="linear",
    abstract=_reduced(np.sum),
    samples=_samples("sum"),
    doc="Sum over axes.",
)


_apply_sum = _sum.applier(1)


def sum(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Sum of elements over ``axis``; integers and bools sum as the machine's integer, as in NumPy."""
    if unknown:
        refuse("sum", unknown)
    return _apply_sum(x, axis=_axes(axis, x, "sum"), keepdims=keepdims)


@functools.lru_cache(maxsize=1024)
def _count(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape[a] for a in normalize_axis(axis, len(shape), "mean"))


_mean = Op(
    "mean",
    _mean_forward,
    lambda F, g, shape, need, axis, keepdims: (
        _expand(F, g * (1.0 / max(_count(shape, axis), 1)), shape, axis, keepdims),
    ),
    save=Shape(0),
    cast="float32",
    jvp="linear",
    abstract=_reduced(np.mean),
    samples=_samples("mean"),
    doc="Mean over axes.",
)


_apply_mean = _mean.applier(1)


def mean(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Mean of elements over ``axis``."""
    if unknown:
        refuse("mean", unknown)
    return _apply_mean(x, axis=_axes(axis, x, "mean"), keepdims=keepdims)


def _in_single(function: Any, x: Any, **static: Any) -> Any:
    """A composed function of half-precision ``x`` with all its steps in float32, where squares do not overflow."""
    from .elementwise import cast

    return cast(function(cast(x, dtype=np.float32), **static), dtype=x.dtype)


def var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0, **unknown: Any) -> Any:
    """Variance over ``axis``: the squared deviations' sum over ``n - correction`` (NumPy's ``ddof``; default 0)."""
    if unknown:
        refuse("var", unknown)
    axis = _axes(axis, x, "var")
    if wide(x.dtype):
        return _in_single(var, x, axis=axis, keepdims=keepdims, correction=correction)
    centered = x - mean(x, axis=axis, keepdims=True)
    squares = centered * centered if x.dtype.kind != "c" else centered.real**2 + centered.imag**2
    total = sum(squares, axis=axis, keepdims=keepdims)
    return total / (_count(x.shape, axis) - correction)


@speaks_as("std")
def std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0, **unknown: Any) -> Any:
    """Standard deviation over ``axis``: the square root of :func:`var`."""
    if unknown:
        refuse("std", unknown)
    from .elementwise import sqrt

    if wide(x.dtype):
        return _in_single(std, x, axis=axis, keepdims=keepdims, correction=correction)
    return sqrt(var(x, axis=axis, keepdims=keepdims, correction=correction))


def _extremum_vjp(F: Any, g: Any, saved: Any, need: Any, axis: Any, keepdims: bool) -> Any:
    # ties share the gradient evenly, as torch.amax does
    x, y = saved
    shape = x.shape
    hit = F.equal(x, _keep_axes(F, y, shape, axis, keepdims))
    hit = F.cast(hit, dtype=x.dtype)
    share = hit / F.sum(hit, axis=axis, keepdims=True)
    return (share * _keep_axes(F, g, shape, axis, keepdims),)


def _extremum(name: str, torch_name: str) -> Op:
    return Op(
        name,
        _reducer(getattr(np, name + "imum")),
        _extremum_vjp,
        save=(0, OUTPUT),
        abstract=_reduced(getattr(np, name)),
        samples=_samples(torch_name),
        doc=f"Largest or smallest element over axes ({name}); ties share the gradient evenly.",
    )


_max = _extremum("max", "amax")
_min = _extremum("min", "amin")


_apply_max = _max.applier(1)


def max_(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Largest element over ``axis``; ties share the gradient evenly (``torch.amax``)."""
    if unknown:
        refuse("max", unknown)
    return _apply_max(x, axis=_axes(axis, x, "max"), keepdims=keepdims)


_apply_min = _min.applier(1)


def min_(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Smallest element over ``axis``; ties share the gradient evenly (``torch.amin``)."""
    if unknown:
        refuse("min", unknown)
    return _apply_min(x, axis=_axes(axis, x, "min"), keepdims=keepdims)


def _prod_forward(xp: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if wide(x.dtype):
        return xp.asarray(xp.prod(x, axis=axis, dtype=np.float32, keepdims=keepdims)).astype(x.dtype)
    return xp.prod(x, axis=axis, keepdims=keepdims)


def _prod_vjp(F: Any, g: Any, x: Any, need: Any, axis: Any, keepdims: bool) -> Any:
    """Product of all the other elements, computed without a division, so zeros are exact."""
    shape = x.shape
    axes = normalize_axis(axis, len(shape), "prod")
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    n = math.prod(shape[a] for a in axes)
    flat = F.reshape(F.transpose(x, rest + axes), (*[shape[i] for i in rest], n))
    eye = np.eye(n, dtype=bool)
    others = F.prod(F.where(_like(eye, x), 1.0, F.expand_dims(flat, -2)), axis=-1, keepdims=False)
    others = F.reshape(others, tuple(shape[i] for i in rest) + tuple(shape[a] for a in axes))
    if others.dtype.kind == "c":
        others = F.conjugate(others)
    order = tuple(int(i) for i in np.argsort(rest + axes))
    return (F.transpose(others, order) * _keep_axes(F, g, shape, axis, keepdims),)


def _like(host: np.ndarray, x: Any) -> Any:
    """A host constant on the device of ``x`` (raw or Tensor)."""
    from .. import backend

    raw = x.data if hasattr(x, "node") else x
    owner = backend.of(raw)
    return owner.from_numpy(host, owner.device_of(raw))


def _prod_samples() -> list[Sample]:
    with_zero = np.array([[2.0, 0.0, -3.0], [0.0, 1.5, 0.0]])
    return [
        Sample((array(0, (4,)),), {"axis": None, "keepdims": False}, torch=lambda t, x: t.prod(x)),
        Sample((array(1, (2, 3)),), {"axis": 1, "keepdims": False}, torch=lambda t, x: t.prod(x, dim=1)),
        Sample((array(2, (2, 3)),), {"axis": 0, "keepdims": True}, torch=lambda t, x: t.prod(x, dim=0, keepdim=True)),
        Sample((with_zero,), {"axis": -1, "keepdims": False}, torch=lambda t, x: t.prod(x, dim=-1)),
        Sample((complex_array(3, (2, 3)),), {"axis": 0, "keepdims": False}, torch=lambda t, x: t.prod(x, dim=0)),
    ]


_prod = Op(
    "prod",
    _prod_forward,
    _prod_vjp,
    save=0,
    cast="float32",
    abstract=_reduced(np.prod),
    samples=_prod_samples,
    doc="Product over axes.",
)


def prod(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Product of elements over ``axis``; the gradient is exact where elements are zero."""
    if unknown:
        refuse("prod", unknown)
    return _prod(x, axis=_axes(axis, x, "prod"), keepdims=keepdims)


def _logsumexp_forward(xp: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if wide(x.dtype):
        return xp.asarray(_logsumexp_forward(xp, x.astype(np.float32), axis, keepdims)).astype(x.dtype)
    if not x.size:  # the logarithm of an empty sum
        return xp.full(reduced_shape(x.shape, axis, keepdims, "logsumexp"), -math.inf, x.dtype)
    top = xp.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    out = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else xp.squeeze(out, axis=tuple(range(x.ndim)) if axis is None else axis)


def _logsumexp_vjp(F: Any, g: Any, saved: Any, need: Any, axis: Any, keepdims: bool) -> Any:
    x, y = saved
    half = x.dtype if wide(x.dtype) else None
    if half is not None:  # the result rounded to half precision would put whole percents onto the probabilities
        x = F.cast(x, dtype=np.float32)
        y = F.logsumexp(x, axis=axis, keepdims=keepdims)
    share = F.exp(x - _keep_axes(F, y, x.shape, axis, keepdims))
    if half is not None:
        share = F.cast(share, dtype=half)
    elif x.dtype.kind == "c":
        share = F.conjugate(share)
    return (share * _keep_axes(F, g, x.shape, axis, keepdims),)


_logsumexp = Op(
    "logsumexp",
    _logsumexp_forward,
    _logsumexp_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=_reduced(np.mean),
    samples=_samples("logsumexp"),
    doc="log(sum(exp(x))) without overflow.",
)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """``log(sum(exp(x)))`` over ``axis`` without overflow; all ``-inf`` gives ``-inf``."""
    if unknown:
        refuse("logsumexp", unknown)
    return _logsumexp(x, axis=_axes(axis, x, "logsumexp"), keepdims=keepdims)


def _position(name: str) -> Op:
    return Op(
        name,
        lambda xp, x, axis, keepdims: getattr(xp, name)(x, axis=axis, keepdims=keepdims),
        abstract=lambda x, axis, keepdims: Spec(reduced_shape(x.shape, axis, keepdims, name), np.dtype(np.intp)),
        samples=[
            Sample((array(0, (2, 3)),), {"axis": None, "keepdims": False}, False, lambda t, x: getattr(t, name)(x)),
            Sample((array(1, (2, 3)),), {"axis": 1, "keepdims": False}, False, lambda t, x: getattr(t, name)(x, dim=1)),
            Sample(
                (array(2, (2, 3)),),
                {"axis": 0, "keepdims": True},
                False,
                lambda t, x: getattr(t, name)(x, dim=0, keepdim=True),
            ),
        ],
        doc=f"Position of the first extremum ({name}).",
    )


_argmax = _position("argmax")
_argmin = _position("argmin")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Position of the largest element along ``axis`` (in the flattened array when ``None``); the first one at ties."""
    if unknown:
        refuse("argmax", unknown)
    return _argmax(x, axis=_axes(axis, x, "argmax"), keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False, **unknown: Any) -> Any:
    """Position of the smallest element along ``axis`` (in the flattened array when ``None``); the first one at ties."""
    if unknown:
        refuse("argmin", unknown)
    return _argmin(x, axis=_axes(axis, x, "argmin"), keepdims=keepdims)


def _truth(name: str) -> Op:
    return Op(
        name,
        lambda xp, x, axis, keepdims: getattr(xp, name)(x, axis=axis, keepdims=keepdims),
        abstract=lambda x, axis, keepdims: Spec(reduced_shape(x.shape, axis, keepdims, name), np.dtype(bool)),
        samples=[
            Sample((np.array([[True, False], [True, True]]),), {"axis": axis, "keepdims": False}, False, call)
            for axis, call in [
                (None, lambda t, x: getattr(t, name)(x)),
                (0, lambda t, x: getattr(t, name)(x, dim=0)),
            ]
        ],
        doc=f"Whether {name} of the elements are true.",
    )


_all = _truth("all")
_any = _truth("any")


def all_(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements over ``axis`` are true."""
    return _all(x, axis=_axes(axis, x, "all"), keepdims=keepdims)


def any_(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element over ``axis`` is true."""
    return _any(x, axis=_axes(axis, x, "any"), keepdims=keepdims)


@speaks_as("count_nonzero")
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements over ``axis`` are not 0 (NaN is not)."""
    from .elementwise import not_equal

    return sum(not_equal(x, 0), axis=axis, keepdims=keepdims)


def norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """Vector norm over ``axis``: ``(sum |x|**ord) ** (1 / ord)``; ``inf`` gives the largest magnitude, ``-inf`` the
    smallest, 0 how many elements are not 0.

    The gradient at the zero vector is 0, and so is that of an element which is 0.
    """
    from .elementwise import absolute, cast, power, sqrt, where

    axis = _axes(axis, x, "norm")
    if wide(x.dtype):
        return _in_single(norm, x, axis=axis, keepdims=keepdims, ord=ord)
    if isinstance(ord, str):
        raise ShapeError(f"norm: ord must be a number, got {ord!r}", hint="lc.ops.matrix_norm knows 'fro' and 'nuc'")
    if ord in (math.inf, -math.inf):
        return (max_ if ord > 0 else min_)(absolute(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return cast(count_nonzero(x, axis=axis, keepdims=keepdims), dtype=absolute(x).dtype)
    if ord == 1:
        return sum(absolute(x), axis=axis, keepdims=keepdims)
    if ord == 2:
        squares = sum(absolute(x) ** 2 if x.dtype.kind == "c" else x * x, axis=axis, keepdims=keepdims)
        zero = squares == 0
        return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))
    size = absolute(x)
    zero = size == 0
    powers = where(zero, 0.0 if ord > 0 else math.inf, power(where(zero, 1.0, size), ord))
    total = sum(powers, axis=axis, keepdims=keepdims)
    zero = total == 0
    return where(zero, 0.0, power(where(zero, 1.0, total), 1.0 / ord))


def _cumsum_forward(xp: Any, x: Any, axis: int) -> Any:
    if wide(x.dtype):
        return xp.cumsum(x, axis=axis, dtype=np.float32).astype(x.dtype)
    return xp.cumsum(x, axis=axis)


def _cumsum_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    return (F.flip(F.cumsum(F.flip(g, axis=axis), axis=axis), axis=axis),)


_cumsum = Op(
    "cumsum",
    _cumsum_forward,
    _cumsum_vjp,
    cast="float32",
    jvp="linear",
    abstract=lambda x, axis: Spec(x.shape, np.cumsum(np.ones(1, x.dtype)).dtype),
    samples=[
        Sample((array(0, (4,)),), {"axis": 0}, torch=lambda t, x: t.cumsum(x, 0)),
        Sample((array(1, (2, 3)),), {"axis": -1}, torch=lambda t, x: t.cumsum(x, -1)),
        Sample((array(2, (2, 3)),), {"axis": 0}, torch=lambda t, x: t.cumsum(x, 0)),
    ],
    doc="Running sum along an axis.",
)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along ``axis``, of the flattened array when ``None``."""
    if axis is None:
        x, axis = x.reshape((-1,)), 0
    return _cumsum(x, axis=normalize_axis(axis, x.ndim, "cumsum")[0])
