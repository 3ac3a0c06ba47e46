"""Order: sort, argsort, topk, median, quantile, searchsorted, unique, and counting.

Names and meaning are NumPy's: NaN counts as the largest value. Where PyTorch returns values and indices together
(``sort``, ``median``) these functions return the values; ``topk``, which NumPy lacks, returns both.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..errors import DeviceError, DTypeError, ShapeError
from ..op import Op, Sample, Spec
from ..tensor import Tensor
from .common import array, normalize_axis, speaks_as
from .indexing import check_integers, index_scatter, take_along_axis
from .scatter import spread_along_axis
from .shape import transpose


def _one_axis(x: Any, axis: int, op: str) -> int:
    if not isinstance(axis, (int, np.integer)):
        raise ShapeError(f"{op}: axis must be an int, got {axis!r}")
    return normalize_axis(axis, x.ndim, op)[0]


# -- sort and argsort --------------------------------------------------------------------------------------------------


def _argsort_forward(xp: Any, x: Any, axis: int, descending: bool, stable: bool) -> Any:
    kind = "stable" if stable else None
    if not descending:
        return xp.argsort(x, axis=axis, kind=kind)
    if not stable:
        return xp.flip(xp.argsort(x, axis=axis), axis)
    # the order of the mirrored array, mirrored, keeps equal elements in their places
    return x.shape[axis] - 1 - xp.flip(xp.argsort(xp.flip(x, axis), axis=axis, kind=kind), axis)


def _sort_forward(xp: Any, x: Any, axis: int, descending: bool) -> Any:
    ordered = xp.sort(x, axis=axis)
    return xp.flip(ordered, axis) if descending else ordered


def _sort_vjp(F: Any, g: Any, x: Any, need: Any, axis: int, descending: bool) -> Any:
    order = F.argsort(x, axis=axis, descending=descending, stable=False)
    return (spread_along_axis(g, order, shape=tuple(x.shape), axis=axis),)


def _sort_samples(name: str) -> Any:
    values = name == "sort"

    def make() -> list[Sample]:
        def call(axis: int, descending: bool) -> Any:
            pick = 0 if values else 1
            return lambda t, x: t.sort(x, dim=axis, descending=descending, stable=True)[pick]

        table = [((5,), 0, False), ((3, 4), 1, True), ((4, 3), 0, False), ((2, 3, 2), 1, True), ((2, 0), 1, False)]
        return [
            Sample(
                (array(i, shape),),
                {"axis": axis, "descending": down} | ({} if values else {"stable": i < 3}),
                values,
                call(axis, down),
            )
            for i, (shape, axis, down) in enumerate(table)
        ]

    return make


_argsort = Op(
    "argsort",
    _argsort_forward,
    None,
    abstract=lambda x, **how: Spec(x.shape, np.dtype(np.intp)),
    samples=_sort_samples("argsort"),
    doc="The positions that sort along an axis.",
)
_sort = Op(
    "sort",
    _sort_forward,
    _sort_vjp,
    save=0,
    abstract=lambda x, axis, descending: x,
    samples=_sort_samples("sort"),
    doc="Elements in ascending or descending order along an axis.",
)


def argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Any:
    """The positions (int64) that sort ``x`` along ``axis``; ``None`` sorts the flattened array.

    Equal elements keep their order, in descending order too, unless ``stable`` is false, which is faster. NaN counts as
    the largest.
    """
    if axis is None:
        x, axis = x.reshape((-1,)), 0
    return _argsort(x, axis=_one_axis(x, axis, "argsort"), descending=bool(descending), stable=bool(stable))


def sort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements of ``x`` in order along ``axis``; ``None`` sorts the flattened array. A new array (``np.sort``).

    NaN counts as the largest. Equal elements cannot be told apart in the result, so ``stable`` changes nothing here;
    which of them gets which gradient is not specified. :func:`argsort` gives the positions.
    """
    if axis is None:
        x, axis = x.reshape((-1,)), 0
    return _sort(x, axis=_one_axis(x, axis, "sort"), descending=bool(descending))


# -- topk --------------------------------------------------------------------------------------------------------------


def _argtopk_forward(xp: Any, x: Any, k: int, axis: int, largest: bool) -> Any:
    n = x.shape[axis]
    if 0 < k < n:  # the k extreme ones in any order, then those in order
        part = xp.argpartition(x, n - k if largest else k - 1, axis=axis)
        part = part[(slice(None),) * axis + (slice(n - k, None) if largest else slice(0, k),)]
        order = xp.argsort(xp.take_along_axis(x, part, axis), axis=axis)
        part = xp.take_along_axis(part, order, axis)
    else:
        part = xp.argsort(x, axis=axis)[(slice(None),) * axis + (slice(0, k),)]
    return xp.flip(part, axis) if largest else part


def _argtopk_samples() -> list[Sample]:
    def call(k: int, axis: int, largest: bool) -> Any:
        return lambda t, x: t.topk(x, k, dim=axis, largest=largest)[1]

    table: list[tuple[tuple[int, ...], int, int, bool]] = [
        ((6,), 2, 0, True), ((3, 5), 3, 1, False), ((4, 3), 4, 0, True), ((2, 4), 0, 1, True),
    ]  # fmt: skip
    return [
        Sample((array(i, s),), {"k": k, "axis": axis, "largest": top}, False, call(k, axis, top))
        for i, (s, k, axis, top) in enumerate(table)
    ]


_argtopk = Op(
    "argtopk",
    _argtopk_forward,
    None,
    abstract=lambda x, k, axis, largest: Spec((*x.shape[:axis], k, *x.shape[axis + 1 :]), np.dtype(np.intp)),
    samples=_argtopk_samples,
    doc="Positions of the k largest or smallest elements along an axis, in order.",
)


class TopK(NamedTuple):
    """What :func:`topk` returns."""

    values: Any
    indices: Any


def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> TopK:
    """The ``k`` largest (or smallest) elements along ``axis`` and their positions: ``values, indices = topk(x, 3)``.

    They come in order, the most extreme first, whatever ``sorted`` says; which of equal elements come is not
    specified. Gradients flow to the elements picked. NaN counts as the largest.
    """
    axis = _one_axis(x, axis, "topk")
    if not isinstance(k, (int, np.integer)) or not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: k={k} of {x.shape[axis]} elements on axis {axis} of shape {tuple(x.shape)}")
    indices = _argtopk(x, k=int(k), axis=axis, largest=bool(largest))
    return TopK(take_along_axis(x, indices, axis), indices)


# -- median and quantile -----------------------------------------------------------------------------------------------

_METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def quantile(x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear") -> Any:
    """The ``q``-quantiles of ``x`` over ``axis`` (an int, a tuple, or ``None`` for all axes), as ``np.quantile``.

    ``q`` is a number in [0, 1] or an array of them, whose axes come first in the result; it is not differentiated.
    ``method`` says what happens between two elements: linear, lower, higher, nearest (halves to even) or midpoint. A
    NaN among the elements gives NaN.
    """
    if method not in _METHODS:
        raise ShapeError(f"quantile: method must be one of {', '.join(_METHODS)}, got {method!r}")
    raw = q.data if isinstance(q, Tensor) else q
    host = np.asarray(backend.of(raw).to_numpy(raw) if backend.is_array(raw) else raw, np.float64)
    if not ((host >= 0) & (host <= 1)).all():
        raise ShapeError(f"quantile: q must lie in [0, 1], got {host.tolist()}")
    return _quantile(x, host, axis, keepdims, method, "quantile")


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median of ``x`` over ``axis``: the mean of the two middle elements of an even number, as ``np.median``.

    PyTorch's gives the lower one of the two: that is ``quantile(x, 0.5, axis, method="lower")``.
    """
    return _quantile(x, np.asarray(0.5), axis, keepdims, "linear", "median")


def _quantile(x: Any, q: np.ndarray, axis: Any, keepdims: bool, method: str, op: str) -> Any:
    from .elementwise import cast, isnan, where
    from .shape import stack

    if x.dtype.kind == "c":
        raise DTypeError(f"{op}: complex numbers have no order")
    if x.dtype.kind in "biu":
        x = cast(x, dtype=np.dtype(np.float64))
    axes = normalize_axis(axis, x.ndim, op)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    head = tuple(x.shape[i] for i in rest)
    n = math.prod(x.shape[i] for i in axes)
    if n == 0:
        raise ShapeError(f"{op}: no elements over axis {axis} of an array of shape {tuple(x.shape)}")
    ordered = sort(transpose(x, rest + axes).reshape((*head, n)))
    last = ordered[..., n - 1]
    spoiled = isnan(last)
    results = []
    for value in q.reshape(-1).tolist() or [0.0]:  # without any, one that gives the shape
        out = where(spoiled, last, _between(ordered, value * (n - 1), method))
        results.append(out.reshape(tuple(1 if i in axes else s for i, s in enumerate(x.shape))) if keepdims else out)
    return results[0] if not q.ndim else stack(results)[: q.size].reshape((*q.shape, *results[0].shape))


def _between(ordered: Any, position: float, method: str) -> Any:
    """The value at a fractional position of the last axis."""
    low, high = math.floor(position), math.ceil(position)
    if method == "lower" or low == high:
        return ordered[..., low]
    if method == "higher":
        return ordered[..., high]
    if method == "nearest":
        return ordered[..., round(position)]
    weight = 0.5 if method == "midpoint" else position - low
    return ordered[..., low] * (1 - weight) + ordered[..., high] * weight


# -- searching and counting: no gradient -------------------------------------------------------------------------------


def _searchsorted_forward(xp: Any, ordered: Any, values: Any, side: str) -> Any:
    if ordered.ndim == 1:
        return xp.searchsorted(ordered, values, side=side)
    # one binary search for every value at once: `count` elements lie before the place
    n = ordered.shape[-1]
    count = xp.zeros_like(values, dtype=np.intp)
    step = 1 << max(n.bit_length() - 1, 0)
    while step and n:
        probe = xp.minimum(count + step, n)
        at = xp.take_along_axis(ordered, probe - 1, -1)
        before = at < values if side == "left" else at <= values
        count = xp.where((count + step <= n) & before, count + step, count)
        step >>= 1
    return count


_searchsorted = Op(
    "searchsorted",
    _searchsorted_forward,
    None,
    abstract=lambda ordered, values, side: Spec(values.shape, np.dtype(np.intp)),
    samples=lambda: [
        Sample((np.sort(array(0, (7,))), array(1, (2, 3))), {"side": "left"}),
        Sample((np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 0.0, 9.0])), {"side": "right"}, False,
               lambda t, o, v: t.searchsorted(o, v, right=True)),
        Sample((np.sort(array(2, (3, 6)), axis=-1), array(3, (3, 4))), {"side": "left"}),
        Sample((np.array([[1, 2, 2, 5], [0, 0, 0, 0]]), np.array([[2, 5], [0, 1]])), {"side": "right"}, False,
               lambda t, o, v: t.searchsorted(o, v, right=True)),
    ],
    doc="Places at which values would go into sorted rows.",
)  # fmt: skip


def searchsorted(ordered: Any, values: Any, side: str = "left", sorter: Any = None) -> Any:
    """The places (int64) at which ``values`` would be inserted into ``ordered``, which ascends along its last axis.

    A 1-D ``ordered`` takes values of any shape (``np.searchsorted``); otherwise the leading axes of both are the same
    and each row is searched for its own values (``torch.searchsorted``). ``side`` says on which side of equal elements.
    ``sorter`` holds the positions that sort an ``ordered`` which is not.
    """
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if sorter is not None:
        ordered = take_along_axis(ordered, sorter, -1)
    if not isinstance(values, Tensor) and not backend.is_array(values):
        raw = ordered.data if isinstance(ordered, Tensor) else ordered
        owner = backend.of(raw)
        values = owner.from_numpy(np.asarray(values), owner.device_of(raw))
    if ordered.ndim != 1 and tuple(ordered.shape[:-1]) != tuple(values.shape[:-1]):
        raise ShapeError(
            f"searchsorted: rows of shape {tuple(ordered.shape)} need values with the same leading axes, "
            f"got {tuple(values.shape)}"
        )
    return _searchsorted(ordered, values, side=side)


def unique(
    x: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    equal_nan: bool = True,
) -> Any:
    """The different elements of ``x`` in ascending order (slices along ``axis``); it has no gradient (``np.unique``).

    NaNs count as one element unless ``equal_nan`` is false.

    On request also, as a tuple in this order: the first position of each, the positions in the result that rebuild
    ``x``, and how often each occurs.
    """
    raw = x.data if isinstance(x, Tensor) else x
    if axis is not None:
        axis = _one_axis(x, axis, "unique")
    found = backend.of(raw).xp.unique(raw, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan)
    if not isinstance(x, Tensor):
        return found
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)


@speaks_as("bincount")
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, ... occurs in the 1-D non-negative integers ``x``; at least ``minlength`` counts.

    With ``weights``, of the shape of ``x``, those are added up instead; their dtype is kept and gradients flow to them.
    """
    check_integers(x, "bincount")
    if x.ndim != 1 or (weights is not None and tuple(weights.shape) != tuple(x.shape)):
        shown = "" if weights is None else f" and weights of shape {tuple(weights.shape)}"
        raise ShapeError(f"bincount: expected 1-D integers, got shape {tuple(x.shape)}{shown}")
    if minlength < 0:
        raise ShapeError(f"bincount: minlength must not be negative, got {minlength}")
    raw = x.data if isinstance(x, Tensor) else x
    if raw.size and int(raw.min()) < 0:
        raise ShapeError(f"bincount: expected non-negative integers, the smallest is {int(raw.min())}")
    if weights is None:
        counts = backend.of(raw).xp.bincount(raw, minlength=minlength)
        return Tensor(counts) if isinstance(x, Tensor) else counts
    size = max(minlength, int(raw.max()) + 1 if raw.size else 0)
    return index_scatter(weights, shape=(size,), index=raw)


def histogram(x: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None) -> tuple[Any, Any]:
    """Counts of the elements of ``x`` in ``bins`` and the edges of the bins; it has no gradient (``np.histogram``).

    ``bins`` is a number of equal bins over ``range`` (the span of ``x`` when ``None``) or a 1-D array of edges. The last
    bin holds its right edge. ``density`` divides by the total and the width, ``weights`` count instead of ones.
    """
    raw, edges, amounts = (v.data if isinstance(v, Tensor) else v for v in (x, bins, weights))
    if len({type(v) for v in (raw, edges, amounts) if backend.is_array(v)}) > 1:
        raise DeviceError("histogram: x, bins and weights lie on different devices", hint="move them by .to(device)")
    try:
        counts, edges = backend.of(raw).xp.histogram(raw, bins=edges, range=range, density=density, weights=amounts)
    except ValueError as exc:
        shown = "" if amounts is None else f", weights of shape {tuple(amounts.shape)}"
        raise ShapeError(f"histogram: x {tuple(raw.shape)}, bins={bins!r}, range={range!r}{shown}: {exc}") from exc
    return (Tensor(counts), Tensor(edges)) if isinstance(x, Tensor) else (counts, edges)
