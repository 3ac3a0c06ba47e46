"""Reading and writing by arrays of positions: take, gather, scatter, scatter_add, masked_fill, masked_select, nonzero.

``take`` and ``nonzero`` are NumPy's; ``gather``, ``scatter``, ``scatter_add`` and the ``masked_`` functions are PyTorch's,
with ``axis`` where PyTorch says ``dim``. Writing gives a new array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, IndexingError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array, normalize_axis, speaks_as
from .indexing import (
    _flat_places,
    _take_along_axis,
    check_integers,
    embedding_grad,
    getitem,
    scatter_along_axis,
)
from .shape import broadcast_to

# -- take --------------------------------------------------------------------------------------------------------------


def _take_forward(xp: Any, x: Any, indices: Any, axis: int) -> Any:
    try:
        return xp.take(x, indices, axis=axis)
    except IndexError as exc:
        n = x.shape[axis]
        raise IndexingError(
            f"take: indices span {int(indices.min())}..{int(indices.max())}, expected {-n}..{n - 1} on axis {axis}"
        ) from exc


def _take_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    """Rows added up by index, over the array with the taken axis first."""
    indices, shape = saved
    n, rest = shape[axis], shape[:axis] + shape[axis + 1 :]
    rank = len(indices.shape)
    front = F.moveaxis(g, tuple(range(axis, axis + rank)), tuple(range(rank)))
    flat = F.where(indices < 0, indices + n, indices).reshape((-1,))
    rows = embedding_grad(front.reshape((math.prod(indices.shape), math.prod(rest))), flat, rows=n)
    return F.moveaxis(rows.reshape((n, *rest)), 0, axis), None


def _take_samples() -> list[Sample]:
    def call(axis: int) -> Any:
        def of(t: Any, x: Any, i: Any) -> Any:
            shape = x.shape[:axis] + i.shape + x.shape[axis + 1 :]
            return t.index_select(x, axis, i.reshape(-1) % x.shape[axis]).reshape(shape)

        return of

    return [
        Sample((array(0, (4,)), np.array([2, 0, 2])), {"axis": 0}, torch=call(0)),
        Sample((array(1, (3, 4)), np.array([[1, -1], [3, 0]])), {"axis": 1}, torch=call(1)),
        Sample((array(2, (3, 2, 4)), np.array(1)), {"axis": 1}, torch=call(1)),
        Sample((array(3, (3, 2)), np.array([], dtype=np.int64)), {"axis": 0}, torch=call(0)),
        Sample((array(4, (5, 2, 3)), np.arange(300) % 5), {"axis": 0}, torch=call(0)),
    ]


_take = Op(
    "take",
    _take_forward,
    _take_vjp,
    save=(1, Shape(0)),
    jvp="linear",
    abstract=lambda x, indices, axis: Spec(x.shape[:axis] + indices.shape + x.shape[axis + 1 :], x.dtype),
    samples=_take_samples,
    doc="Slices picked along an axis.",
)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Slices of ``x`` at integer ``indices`` along ``axis``, whose place the axes of ``indices`` take (``np.take``).

    ``axis=None`` reads the flattened array. Negative indices count from the end; others out of range raise IndexingError.
    """
    indices = _integers_like(x, indices, "take")
    if axis is None:
        x, axis = x.reshape((-1,)), 0
    return _take(x, indices, axis=normalize_axis(axis, x.ndim, "take")[0])


def _integers_like(x: Any, indices: Any, op: str) -> Any:
    """An index array beside ``x``, also from a Python number or list."""
    if not isinstance(indices, Tensor) and not backend.is_array(indices):
        host = np.asarray(indices)
        raw = x.data if isinstance(x, Tensor) else x
        owner = backend.of(raw)
        indices = owner.from_numpy(host if host.size else host.astype(np.intp), owner.device_of(raw))
    check_integers(indices, op)
    return indices


# -- gather and scatter ------------------------------------------------------------------------------------------------


def _check_index(op: str, x: Any, axis: int, index: Any, src: Any = None) -> int:
    """The axis without its sign, after the shapes were checked."""
    axis = normalize_axis(axis, x.ndim, op)[0]
    check_integers(index, op)
    fits = index.ndim == x.ndim and all(i == axis or a <= b for i, (a, b) in enumerate(zip(index.shape, x.shape)))
    if not fits:
        raise ShapeError(
            f"{op}: an index of shape {tuple(index.shape)} must have the rank of x, {tuple(x.shape)}, and be no larger "
            f"than it except on axis {axis}"
        )
    if src is not None and (src.ndim != index.ndim or any(a > b for a, b in zip(index.shape, src.shape))):
        raise ShapeError(f"{op}: src of shape {tuple(src.shape)} is smaller than the index, {tuple(index.shape)}")
    return axis


def _crop(x: Any, shape: tuple[int, ...]) -> Any:
    """The leading corner of ``x`` of ``shape``."""
    return x if tuple(x.shape) == tuple(shape) else x[tuple(slice(0, n) for n in shape)]


@speaks_as("gather")
def gather(x: Any, axis: int, index: Any) -> Any:
    """Elements picked along ``axis``: ``out[i][j] = x[index[i][j]][j]`` for axis 0 (``torch.gather``).

    ``index`` holds integers, has the rank of ``x`` and is no larger than it on the other axes; the result has its shape.
    """
    axis = _check_index("gather", x, axis, index)
    return _take_along_axis(x, index, axis=axis)


def _scatter_forward(xp: Any, x: Any, index: Any, src: Any, axis: int) -> Any:
    return _write(xp, x.copy() if xp is not np else x.copy(order="C"), index, src, axis, "scatter")


def _write(xp: Any, out: Any, index: Any, src: Any, axis: int, op: str) -> Any:
    """``src`` written into the C-ordered ``out`` along ``axis``."""
    if xp is np:
        out.reshape(-1)[_flat_places(index, out.shape, axis, op)] = src
        return out
    grid = list(xp.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    out[tuple(grid)] = src
    return out


def _scatter_vjp(F: Any, g: Any, index: Any, need: Any, axis: int) -> Any:
    gx = gs = None
    if need[0]:
        gx = F.scatter(g, axis, index, 0.0)
    if need[2]:
        gs = F.gather(g, axis, index)
    return gx, None, gs


def _index_2d() -> np.ndarray:
    return np.array([[0, 2, 1], [3, 1, 0]])


_scatter = Op(
    "scatter",
    _scatter_forward,
    _scatter_vjp,
    save=1,
    cast="promote",
    jvp="linear",
    abstract=lambda x, index, src, axis: x,
    samples=lambda: [
        Sample(
            (array(0, (4, 3)), _index_2d(), array(1, (2, 3))), {"axis": 0}, torch=lambda t, x, i, s: x.scatter(0, i, s)
        ),
        Sample(
            (array(2, (3, 4)), _index_2d(), array(3, (2, 3))), {"axis": 1}, torch=lambda t, x, i, s: x.scatter(1, i, s)
        ),
        Sample(
            (array(4, (4,)), np.array([2]), array(5, (1,))), {"axis": 0}, torch=lambda t, x, i, s: x.scatter(0, i, s)
        ),
    ],
    doc="A copy with values written along an axis.",
)


def scatter(x: Any, axis: int, index: Any, src: Any) -> Any:
    """A copy of ``x`` with ``src`` written along ``axis``: ``out[index[i][j]][j] = src[i][j]`` for axis 0.

    As ``torch.scatter``: ``index`` is as for :func:`gather`, ``src`` is a number or at least as large as ``index``. Where
    places repeat, one of the values stays and each of them gets the gradient of that place.
    """
    src = _source(x, index, src)
    axis = _check_index("scatter", x, axis, index, src)
    return _scatter(x, index, _crop(src, index.shape), axis=axis)


@speaks_as("scatter_add")
def scatter_add(x: Any, axis: int, index: Any, src: Any) -> Any:
    """A copy of ``x`` with ``src`` added along ``axis``; values for one place add up (``torch.scatter_add``)."""
    src = _source(x, index, src)
    axis = _check_index("scatter_add", x, axis, index, src)
    return x + scatter_along_axis(_crop(src, index.shape), index, shape=tuple(x.shape), axis=axis)


def _source(x: Any, index: Any, src: Any) -> Any:
    """``src`` in the dtype of ``x``; a number is repeated for every index."""
    if isinstance(src, Tensor) or backend.is_array(src):
        if src.dtype != x.dtype:
            raise DTypeError(f"scatter: src is {src.dtype}, x is {x.dtype}", hint="src.astype(x.dtype)")
        return src
    raw = x.data if isinstance(x, Tensor) else x
    owner = backend.of(raw)
    return broadcast_to(owner.from_numpy(np.asarray(src, x.dtype), owner.device_of(raw)), tuple(index.shape))


@speaks_as("index_put")
def index_put(x: Any, index: Any, value: Any, accumulate: bool = False) -> Any:
    """A copy of ``x`` with ``value``, which broadcasts, written at ``index``, or added to what is there.

    ``index`` is what may stand in ``x[...]``. The same as ``x.at[index].set(value)`` and ``x.at[index].add(value)``.
    """
    from .at import at

    places = at(x)[index]
    return places.add(value) if accumulate else places.set(value)


# -- spreading: what sort and topk need --------------------------------------------------------------------------------


def _spread_forward(xp: Any, g: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    return _write(xp, xp.zeros(shape, g.dtype), indices, g, axis, "spread_along_axis")


spread_along_axis = Op(
    "spread_along_axis",
    _spread_forward,
    lambda F, g, indices, need, shape, axis: (F.take_along_axis(g, indices, axis), None),
    save=1,
    jvp="linear",
    abstract=lambda g, indices, shape, axis: Spec(shape, g.dtype),
    samples=lambda: [
        Sample(
            (array(0, (2, 2)), np.array([[0, 2], [1, 0]])),
            {"shape": (2, 3), "axis": 1},
            torch=lambda t, g, i: t.zeros(2, 3, dtype=g.dtype).scatter(1, i, g),
        )
    ],
    doc="Zeros of a shape with values written along an axis at places of which none repeats.",
)

# -- masks -------------------------------------------------------------------------------------------------------------


def _check_mask(mask: Any, op: str) -> None:
    if getattr(mask, "dtype", None) != np.bool_:
        raise DTypeError(f"{op}: the mask must hold bools, got {getattr(mask, 'dtype', type(mask).__name__)}")


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """``x`` with ``value``, a number or an array without axes, wherever the bool ``mask``, which broadcasts, is true."""
    from .elementwise import where

    _check_mask(mask, "masked_fill")
    try:
        fits = np.broadcast_shapes(mask.shape, x.shape) == tuple(x.shape)
    except ValueError:
        fits = False
    rank: int = getattr(value, "ndim", 0)
    if not fits or rank:
        raise ShapeError(
            f"masked_fill: x {tuple(x.shape)} takes a mask that broadcasts to it and one value, got a mask of shape "
            f"{tuple(mask.shape)} and a value with {rank} axes"
        )
    filled = where(mask, value, x)
    if not np.can_cast(filled.dtype, x.dtype, "same_kind"):
        raise DTypeError(f"masked_fill: a value of dtype {filled.dtype} does not fit into x of dtype {x.dtype}")
    return filled if filled.dtype == x.dtype else _cast_like(filled, x)


def _cast_like(value: Any, x: Any) -> Any:
    from .elementwise import cast

    return cast(value, dtype=x.dtype)


def masked_select(x: Any, mask: Any) -> Any:
    """The elements of ``x`` where ``mask`` is true, as one axis; both broadcast together."""
    _check_mask(mask, "masked_select")
    try:
        shape = np.broadcast_shapes(x.shape, mask.shape)
    except ValueError as exc:
        raise ShapeError(f"masked_select: shapes {tuple(x.shape)} and {tuple(mask.shape)} do not broadcast") from exc
    raw = mask.data if isinstance(mask, Tensor) else mask
    return getitem(broadcast_to(x, shape), index=backend.of(raw).xp.broadcast_to(raw, shape))


def nonzero(x: Any) -> tuple[Any, ...]:
    """The positions of the elements that are not 0: one integer array an axis, in row-major order (``np.nonzero``)."""
    raw = x.data if isinstance(x, Tensor) else x
    if not raw.ndim:
        raise ShapeError("nonzero: x has no axes", hint="x.reshape(1) has one")
    positions = backend.of(raw).xp.nonzero(raw)
    return tuple(map(Tensor, positions)) if isinstance(x, Tensor) else tuple(positions)


__all__ = [
    "gather",
    "index_put",
    "masked_fill",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "spread_along_axis",
    "take",
]
