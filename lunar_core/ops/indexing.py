"""Reading and writing by index: ``x[...]``, ``x.at[...]``, take_along_axis, embedding, one_hot.

Writing is functional: a new array comes back, so the graph stays true.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..carried import innermost
from ..errors import DTypeError, IndexingError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor, _raw
from .common import array, normalize_axis, wide


def _is_basic(index: Any) -> bool:
    """Whether NumPy answers with a view: slices, ints, None and Ellipsis only."""
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (slice, int, np.integer)) for i in items)


def _getitem_forward(xp: Any, x: Any, index: Any) -> Any:
    try:
        return x[index]
    except IndexError as exc:
        raise IndexingError(f"x[...]: index does not fit an array of shape {x.shape}: {exc}") from exc


def _index_spec(x: Spec, index: Any) -> Spec:
    return Spec(np.broadcast_to(np.zeros((), x.dtype), x.shape)[index].shape, x.dtype)


def _index_samples(shape: tuple[int, ...], entries: list[Any]) -> list[Sample]:
    def call(index: Any) -> Any:
        def convert(i: Any, t: Any) -> Any:
            return t.as_tensor(np.ascontiguousarray(i)) if isinstance(i, np.ndarray) else i

        def of(t: Any, x: Any) -> Any:
            return x[tuple(convert(i, t) for i in index) if isinstance(index, tuple) else convert(index, t)]

        return of

    return [Sample((array(n, shape),), {"index": index}, torch=call(index)) for n, index in enumerate(entries)]


getitem = Op(
    "getitem",
    _getitem_forward,
    lambda F, g, shape, need, index: (index_scatter(g, shape=shape, index=index),),
    save=Shape(0),
    jvp="linear",
    abstract=_index_spec,
    samples=_index_samples(
        (3, 4),
        [
            1, -1, slice(0, 2), (slice(None), 2), (Ellipsis, None, slice(1, 3)), (slice(None, None, 2), slice(1, 4, 2)),
            np.array([0, 2, 0]), (np.array([0, 1]), np.array([3, 3])), (slice(None), np.array([[0, 1], [1, 1]])),
            np.array([True, False, True]),
        ],
    ),
    doc="Reading by index, as NumPy's: ints, slices, Ellipsis, None, integer and bool arrays.",
)  # fmt: skip


_getitem = getitem.applier(1)


def read(x: Any, index: Any) -> Any:
    """``x[index]``."""
    return _getitem(x, index=_raw(index) if isinstance(index, (Tensor, tuple, list)) else index)


def _scatter_forward(xp: Any, g: Any, shape: tuple[int, ...], index: Any) -> Any:
    out = xp.zeros(shape, g.dtype)
    if _is_basic(index) or (type(index) is type(out) and index.dtype == bool):
        out[index] = g  # no place twice
    elif wide(g.dtype):
        return _scatter_forward(xp, g.astype(np.float32), shape, index).astype(g.dtype)
    else:
        backend.of(out).scatter_add(out, index, g)
    return out


index_scatter: Op = Op(
    "index_scatter",
    _scatter_forward,
    lambda F, g, saved, need, shape, index: (getitem(g, index=index),),
    jvp="linear",
    abstract=lambda g, shape, index: Spec(shape, g.dtype),
    samples=[
        Sample((array(0, (2, 4)),), {"shape": (3, 4), "index": slice(0, 2)}),
        Sample((array(1, (3,)),), {"shape": (4,), "index": np.array([1, 1, 3])}),
    ],
    doc="Zeros of a shape with values added at an index: the adjoint of reading there.",
)


def _index_put_forward(xp: Any, x: Any, value: Any, index: Any) -> Any:
    out = x.copy()
    out[index] = value
    return out


def _index_put_vjp(F: Any, g: Any, saved: Any, need: Any, index: Any) -> Any:
    gx = _index_put(g, F.getitem(g, index=index) * 0, index=index) if need[0] else None
    return gx, F.getitem(g, index=index) if need[1] else None


_index_put = Op(
    "index_put",
    _index_put_forward,
    _index_put_vjp,
    cast="promote",
    jvp="linear",
    abstract=lambda x, value, index: x,
    samples=[
        Sample((array(0, (3, 4)), array(1, (2, 4))), {"index": slice(1, 3)}),
        Sample((array(2, (4,)), array(3, (2,))), {"index": np.array([2, 0])}),
    ],
    doc="A copy with values written at an index.",
)


def _flat_places(indices: np.ndarray, shape: tuple[int, ...], axis: int, op: str) -> np.ndarray:
    """Positions in a flattened array of ``shape`` that ``indices`` along ``axis`` mean; NumPy is fastest with those."""
    n = shape[axis]
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < -n or high >= n:
            raise IndexingError(f"{op}: indices span {low}..{high}, expected {-n}..{n - 1} on axis {axis} of {shape}")
        if low < 0:
            indices = np.where(indices < 0, indices + n, indices)
    offset: Any = 0
    stride = 1
    for i in reversed(range(len(shape))):
        if i == axis:
            indices = indices * stride if stride != 1 else indices
        else:
            steps = np.arange(0, indices.shape[i] * stride, stride) if indices.shape[i] else np.empty(0, np.intp)
            offset = offset + steps.reshape((-1,) + (1,) * (len(shape) - i - 1))
        stride *= shape[i] or 1
    return indices + offset


def _take_along_forward(xp: Any, x: Any, indices: Any, axis: int) -> Any:
    if xp is np and x.flags.c_contiguous:
        return x.reshape(-1)[_flat_places(indices, x.shape, axis, "take_along_axis")]
    if any(a != b for i, (a, b) in enumerate(zip(x.shape, indices.shape)) if i != axis):
        x = x[tuple(slice(None) if i == axis else slice(0, n) for i, n in enumerate(indices.shape))]
    return xp.take_along_axis(x, indices, axis)


def _along_axis_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    indices, shape = saved
    return scatter_along_axis(g, indices, shape=shape, axis=axis), None


def _indices_sample() -> np.ndarray:
    return np.array([[0, 2], [1, 1]])


_take_along_axis = Op(
    "take_along_axis",
    _take_along_forward,
    _along_axis_vjp,
    save=(1, Shape(0)),
    jvp="linear",
    abstract=lambda x, indices, axis: Spec(indices.shape, x.dtype),
    samples=[
        Sample((array(0, (2, 3)), _indices_sample()), {"axis": 1}, torch=lambda t, x, i: t.take_along_dim(x, i, 1)),
    ],
    doc="Elements picked along an axis by an index array of the same rank, no larger than the array on the other axes.",
)


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """``x`` picked along ``axis`` by ``indices``, which has as many axes as ``x`` (NumPy's take_along_axis).

    The other axes broadcast.
    """
    axis = normalize_axis(axis, x.ndim, "take_along_axis")[0]
    check_integers(indices, "take_along_axis")
    if indices.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: indices have {indices.ndim} axes, the array has {x.ndim}")
    if any(a != b for i, (a, b) in enumerate(zip(x.shape, indices.shape)) if i != axis):
        x, indices = _broadcast_others(x, indices, axis)
    return _take_along_axis(x, indices, axis=axis)


def _broadcast_others(x: Any, indices: Any, axis: int) -> tuple[Any, Any]:
    """Both arrays with equal sizes on every axis but ``axis``."""
    from .shape import broadcast_to

    def others(a: Any) -> tuple[int, ...]:
        return (*a.shape[:axis], *a.shape[axis + 1 :])

    try:
        common = np.broadcast_shapes(others(x), others(indices))
    except ValueError as exc:
        raise ShapeError(
            f"take_along_axis: shapes {tuple(x.shape)} and {tuple(indices.shape)} do not broadcast beside axis {axis}"
        ) from exc

    def widened(a: Any) -> Any:
        return broadcast_to(a, (*common[:axis], a.shape[axis], *common[axis:]))

    return widened(x), widened(indices)


def _scatter_along_forward(xp: Any, g: Any, indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    if wide(g.dtype):
        return _scatter_along_forward(xp, g.astype(np.float32), indices, shape, axis).astype(g.dtype)
    out = xp.zeros(shape, g.dtype)
    if xp is np:
        np.add.at(out.reshape(-1), _flat_places(indices, shape, axis, "scatter_along_axis").reshape(-1), g.reshape(-1))
        return out
    grid = list(xp.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[axis] = indices
    backend.of(out).scatter_add(out, tuple(grid), g)
    return out


scatter_along_axis = Op(
    "scatter_along_axis",
    _scatter_along_forward,
    lambda F, g, indices, need, shape, axis: (_take_along_axis(g, indices, axis=axis), None),
    save=1,
    jvp="linear",
    abstract=lambda g, indices, shape, axis: Spec(shape, g.dtype),
    samples=[Sample((array(0, (2, 2)), _indices_sample()), {"shape": (2, 3), "axis": 1})],
    doc="Zeros of a shape with values added along an axis: the adjoint of take_along_axis.",
)


def check_integers(indices: Any, op: str) -> None:
    """Refuse index arrays that do not hold integers."""
    if getattr(indices, "dtype", np.dtype(int)).kind not in "iu":
        raise DTypeError(f"{op}: indices must be integers, got {indices.dtype}", hint='x.astype("int64")')


def _embedding_forward(xp: Any, weight: Any, indices: Any) -> Any:
    if indices.size:
        low, high = indices.min(), indices.max()
        if low < 0 or high >= weight.shape[0]:
            raise IndexingError(
                f"embedding: index {int(low if low < 0 else high)} is out of range for a table of {weight.shape[0]} rows"
            )
    return weight[indices]


def _embedding_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    indices, shape = saved
    return embedding_grad(g, indices, rows=shape[0]), None


_embedding = Op(
    "embedding",
    _embedding_forward,
    _embedding_vjp,
    save=(1, Shape(0)),
    jvp="linear",
    abstract=lambda weight, indices: Spec((*indices.shape, weight.shape[1]), weight.dtype),
    samples=[
        Sample((array(0, (5, 3)), np.array([[0, 4], [2, 2]])), torch=lambda t, w, i: t.nn.functional.embedding(i, w)),
    ],
    doc="Rows of a table.",
)


def _embedding_grad_forward(xp: Any, g: Any, indices: Any, rows: int) -> Any:
    if wide(g.dtype):
        return _embedding_grad_forward(xp, g.astype(np.float32), indices, rows).astype(g.dtype)
    width = g.shape[-1]
    out = xp.zeros((rows, width), g.dtype)
    flat = indices.reshape(-1)
    values = g.reshape(-1, width)
    if xp is np and flat.size > 256:
        # sorting groups equal rows, which reduceat sums ten times faster than np.add.at
        order = np.argsort(flat, kind="stable")
        ordered = flat[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        out[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    else:
        backend.of(out).scatter_add(out, flat, values)
    return out


embedding_grad = Op(
    "embedding_grad",
    _embedding_grad_forward,
    lambda F, g, indices, need, rows: (_embedding(g, indices), None),
    save=1,
    jvp="linear",
    abstract=lambda g, indices, rows: Spec((rows, g.shape[-1]), g.dtype),
    samples=[Sample((array(0, (2, 2, 3)), np.array([[0, 4], [2, 2]])), {"rows": 5})],
    doc="Rows added up by index: the adjoint of embedding.",
)


def embedding(indices: Any, weight: Any) -> Any:
    """Rows of ``weight`` (rows, width) at integer ``indices`` (...): result (..., width)."""
    check_integers(indices, "embedding")
    if weight.ndim != 2:
        raise ShapeError(f"embedding: the table must have two axes, (rows, width), got shape {tuple(weight.shape)}")
    return _embedding(weight, indices)


def one_hot(indices: Any, classes: int, dtype: Any = np.float32) -> Any:
    """Vectors with a 1 at the index and 0 elsewhere: ``indices`` (...) -> (..., classes)."""
    check_integers(indices, "one_hot")
    raw = indices.data if isinstance(indices, Tensor) else indices
    known = innermost(indices)
    xp = backend.of(known).xp
    if known.size and (int(known.min()) < 0 or int(known.max()) >= classes):
        raise IndexingError(f"one_hot: indices span {int(known.min())}..{int(known.max())}, expected 0..{classes - 1}")
    out = (raw[..., None] == xp.arange(classes)).astype(dtype)
    return Tensor(out) if isinstance(indices, Tensor) else out
