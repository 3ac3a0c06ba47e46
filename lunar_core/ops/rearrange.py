"""Ops that copy, cut, turn and mask whole arrays: chunk, roll, tile, repeat, meshgrid, triangles, diagonals, pad modes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array, normalize_axis
from .reduction import _like
from .scatter import take
from .shape import broadcast_to, reshape

# -- cutting and repeating ---------------------------------------------------------------------------------------------


def chunk(x: Any, chunks: int, axis: int = 0) -> list[Any]:
    """``x`` cut along ``axis`` into at most ``chunks`` parts of equal size, the last one smaller (``torch.chunk``)."""
    axis = normalize_axis(axis, x.ndim, "chunk")[0]
    if chunks < 1:
        raise ShapeError(f"chunk: expected at least one chunk, got {chunks}")
    n = x.shape[axis]
    size = max(-(-n // chunks), 1)
    return [x[(slice(None),) * axis + (slice(a, a + size),)] for a in range(0, max(n, 1), size)]


def tile(x: Any, reps: Any) -> Any:
    """``x`` laid out ``reps`` times along each axis (``np.tile``; PyTorch's ``x.repeat``).

    ``reps`` is an int or a tuple; the shorter one of ``reps`` and the shape is filled up with ones in front.
    """
    counts = tuple(reps) if isinstance(reps, Iterable) else (reps,)
    if not all(isinstance(r, (int, np.integer)) and r >= 0 for r in counts):
        raise ShapeError(f"tile: repetitions must be ints that are not negative, got {reps!r}")
    counts = tuple(map(int, counts))
    rank = max(x.ndim, len(counts))
    shape = (1,) * (rank - x.ndim) + tuple(x.shape)
    counts = (1,) * (rank - len(counts)) + counts
    spread = tuple(n for pair in zip(counts, shape) for n in pair)
    wide = broadcast_to(reshape(x, tuple(n for s in shape for n in (1, s))), spread)
    return reshape(wide, tuple(r * s for r, s in zip(counts, shape)))


def _repeat_vjp(F: Any, g: Any, shape: tuple[int, ...], need: Any, repeats: int, axis: int) -> Any:
    parts = g.reshape((*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    if not 0 < repeats <= 8:
        return (parts.sum(axis=axis + 1),)
    head = (slice(None),) * (axis + 1)  # NumPy sums a short axis far slower than it adds whole arrays
    return (functools.reduce(operator.add, [parts[(*head, i)] for i in range(repeats)]),)


_repeat = Op(
    "repeat",
    lambda xp, x, repeats, axis: xp.repeat(x, repeats, axis),
    _repeat_vjp,
    save=Shape(0),
    jvp="linear",
    abstract=lambda x, repeats, axis: Spec(
        tuple(n * repeats if i == axis else n for i, n in enumerate(x.shape)), x.dtype
    ),
    samples=lambda: [
        Sample(
            (array(i, shape),), {"repeats": times, "axis": axis},
            torch=lambda t, x, times=times, axis=axis: t.repeat_interleave(x, times, axis),
        )
        for i, (shape, times, axis) in enumerate([((2, 3), 2, 1), ((3, 2), 9, 0), ((4,), 1, 0), ((2, 2), 0, 1)])
    ],
    doc="Each element a number of times in a row.",
)  # fmt: skip


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of ``x`` ``repeats`` times in a row along ``axis`` (``np.repeat``; PyTorch's ``repeat_interleave``).

    ``repeats`` is an int or one count for each place on the axis. ``axis=None`` repeats the flattened array.
    """
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis(axis, x.ndim, "repeat")[0]
    n = x.shape[axis]
    raw = repeats.data if isinstance(repeats, Tensor) else repeats
    counts = np.asarray(backend.of(raw).to_numpy(raw) if backend.is_array(raw) else raw)
    if not counts.size:
        counts = counts.astype(np.intp)
    if counts.dtype.kind not in "iu" or (counts < 0).any() or (counts.ndim and counts.shape not in ((1,), (n,))):
        raise ShapeError(
            f"repeat: expected a count or {n} counts for axis {axis}, none negative, got {counts.tolist()}"
        )
    if counts.size == 1:
        times = int(counts.reshape(()))
        return _repeat(x, repeats=times, axis=axis)
    return take(x, _like(np.repeat(np.arange(n), counts), x), axis)


def broadcast_arrays(*xs: Any) -> list[Any]:
    """The arrays broadcast against each other to their common shape (``np.broadcast_arrays``)."""
    try:
        shape = np.broadcast_shapes(*[x.shape for x in xs])
    except ValueError as exc:
        shapes = " and ".join(str(tuple(x.shape)) for x in xs)
        raise ShapeError(f"broadcast_arrays: shapes {shapes} do not broadcast together") from exc
    return [x if tuple(x.shape) == shape else broadcast_to(x, shape) for x in xs]


def meshgrid(*xs: Any, indexing: str = "xy") -> list[Any]:
    """Grids of coordinates from 1-D arrays, one for each: ``np.meshgrid``.

    ``indexing="xy"`` (NumPy's default) puts the first array on axis 1, ``"ij"`` (PyTorch's) keeps the order of axes.
    """
    if indexing not in ("xy", "ij"):
        raise ShapeError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    if any(x.ndim > 1 for x in xs):
        raise ShapeError(f"meshgrid: expected 1-D arrays, got shapes {[tuple(x.shape) for x in xs]}")
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[0], order[1] = 1, 0
    shape = [1] * len(xs)
    for x, at in zip(xs, order):
        shape[at] = x.size
    return [
        broadcast_to(reshape(x, tuple(-1 if i == at else 1 for i in range(len(xs)))), tuple(shape))
        for x, at in zip(xs, order)
    ]


_roll: Op = Op(
    "roll",
    lambda xp, x, shift, axis: xp.roll(x, shift, axis),
    lambda F, g, saved, need, shift, axis: (_roll(g, shift=tuple(-s for s in shift), axis=axis),),
    jvp="linear",
    abstract=lambda x, shift, axis: x,
    samples=lambda: [
        Sample((array(0, (5,)),), {"shift": (2,), "axis": (0,)}, torch=lambda t, x: t.roll(x, 2, 0)),
        Sample((array(1, (3, 4)),), {"shift": (-1, 5), "axis": (0, 1)}, torch=lambda t, x: t.roll(x, (-1, 5), (0, 1))),
    ],
    doc="Elements moved along axes; those that fall off come back at the other end.",
)


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved by ``shift`` along ``axis``, those that fall off coming back at the other end (``np.roll``).

    Both may be tuples; ``axis=None`` rolls the flattened array.
    """
    if axis is None:
        if not isinstance(shift, (int, np.integer)):
            raise ShapeError(f"roll: shift must be an int when axis is None, got {shift!r}")
        return reshape(_roll(reshape(x, (-1,)), shift=(int(shift),), axis=(0,)), tuple(x.shape))
    axes = normalize_axis(axis, x.ndim, "roll")
    shifts = tuple(shift) if isinstance(shift, Iterable) else (shift,) * len(axes)
    if not all(isinstance(s, (int, np.integer)) for s in shifts):
        raise ShapeError(f"roll: expected an int or a tuple of ints as shift, got {shift!r}")
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    return _roll(x, shift=tuple(int(s) for s in shifts), axis=axes)


# -- triangles and diagonals -------------------------------------------------------------------------------------------


def _triangle_forward(xp: Any, x: Any, k: int, name: str) -> Any:
    rows, columns = x.shape[-2:]
    if xp is not np or x.size < 1024 * rows:
        return getattr(xp, name)(x, k)
    out = np.zeros(x.shape, x.dtype)  # long rows are copied faster than they are masked
    for i in range(rows):
        edge = min(max(i + k + (name == "tril"), 0), columns)
        part = slice(0, edge) if name == "tril" else slice(edge, None)
        out[..., i, part] = x[..., i, part]
    return out


def _triangle(name: str, doc: str) -> Op:
    def vjp(F: Any, g: Any, saved: Any, need: Any, k: int) -> Any:
        return (op(g, k=k),)

    op = Op(
        name,
        lambda xp, x, k: _triangle_forward(xp, x, k, name),
        vjp,
        jvp="linear",
        abstract=lambda x, k: x,
        samples=lambda: [
            Sample((array(i, shape),), {"k": k}, torch=lambda t, x, k=k: getattr(t, name)(x, k))
            for i, (shape, k) in enumerate([((3, 3), 0), ((2, 4), 1), ((4, 2), -1), ((2, 3, 3), 0)])
        ],
        doc=doc,
    )
    return op


_tril = _triangle("tril", "The lower triangle.")
_triu = _triangle("triu", "The upper triangle.")


def _matrix(x: Any, op: str, k: Any = 0) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected at least two axes, got shape {tuple(x.shape)}")
    if not isinstance(k, (int, np.integer)):
        raise ShapeError(f"{op}: the number of the diagonal must be an int, got {k!r}")


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes, zeros elsewhere; ``k`` > 0 keeps diagonals above the main one too."""
    _matrix(x, "tril", k)
    return _tril(x, k=int(k))


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes, zeros elsewhere; ``k`` < 0 keeps diagonals below the main one too."""
    _matrix(x, "triu", k)
    return _triu(x, k=int(k))


def _diagonal_spec(x: Spec, offset: int, axis1: int, axis2: int) -> Spec:
    rest = tuple(n for i, n in enumerate(x.shape) if i not in (axis1, axis2))
    length = min(x.shape[axis1] + min(offset, 0), x.shape[axis2] - max(offset, 0))
    return Spec((*rest, max(length, 0)), x.dtype)


def _diagonal_samples() -> list[Sample]:
    table: list[tuple[tuple[int, ...], int, int, int]] = [
        ((3, 3), 0, 0, 1), ((2, 4), 1, 0, 1), ((2, 3, 4), -1, 1, 2), ((3, 2, 3), 0, 2, 0), ((2, 2), 3, 0, 1)
    ]  # fmt: skip
    return [
        Sample((array(i, s),), {"offset": k, "axis1": a, "axis2": b}, True,
               lambda t, x, k=k, a=a, b=b: t.diagonal(x, max(min(k, 2), -2), a, b))
        for i, (s, k, a, b) in enumerate(table)
    ]  # fmt: skip


_diagonal = Op(
    "diagonal",
    lambda xp, x, offset, axis1, axis2: xp.diagonal(x, offset, axis1, axis2),
    lambda F, g, shape, need, **where: (spread_diagonal(g, shape=tuple(shape), **where),),
    save=Shape(0),
    jvp="linear",
    abstract=_diagonal_spec,
    samples=_diagonal_samples,
    doc="A diagonal of two axes, as the last axis.",
)


def _spread_diagonal_forward(xp: Any, g: Any, shape: tuple[int, ...], offset: int, axis1: int, axis2: int) -> Any:
    out = xp.zeros(shape, g.dtype)
    along = xp.arange(g.shape[-1])
    xp.moveaxis(out, (axis1, axis2), (-2, -1))[..., along + max(-offset, 0), along + max(offset, 0)] = g
    return out


spread_diagonal: Op = Op(
    "spread_diagonal",
    _spread_diagonal_forward,
    lambda F, g, saved, need, shape, **where: (_diagonal(g, **where),),
    jvp="linear",
    abstract=lambda g, shape, **where: Spec(shape, g.dtype),
    samples=lambda: [
        Sample((array(0, (3,)),), {"shape": (3, 3), "offset": 0, "axis1": 0, "axis2": 1}, torch=lambda t, x: t.diag(x)),
        Sample((array(1, (2, 2)),), {"shape": (2, 3, 3), "offset": -1, "axis1": 1, "axis2": 2},
               torch=lambda t, x: t.diag_embed(x, -1)),
    ],
    doc="Zeros of a shape with values on a diagonal: the adjoint of diagonal.",
)  # fmt: skip


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of axes ``axis1`` and ``axis2``, as the last axis; ``offset`` > 0 lies above it. A read-only view."""
    _matrix(x, "diagonal", offset)
    a, b = normalize_axis((axis1, axis2), x.ndim, "diagonal")
    return _diagonal(x, offset=int(offset), axis1=a, axis2=b)


def diag(x: Any, k: int = 0) -> Any:
    """A matrix with the vector ``x`` on its ``k``-th diagonal, or the ``k``-th diagonal of the matrix ``x``."""
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(
            f"diag: expected a vector or a matrix, got shape {tuple(x.shape)}",
            hint="diag_embed and diagonal take batches",
        )
    return diag_embed(x, k)


def diag_embed(x: Any, k: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Matrices with the last axis of ``x`` on their ``k``-th diagonal: (..., n) -> (..., n + |k|, n + |k|).

    ``axis1`` and ``axis2`` are the places of the matrices' axes in the result.
    """
    if not x.ndim:
        raise ShapeError("diag_embed: x has no axes")
    size = x.shape[-1] + abs(k)
    a, b = normalize_axis((axis1, axis2), x.ndim + 1, "diag_embed")
    rest = iter(x.shape[:-1])
    shape = tuple(size if i in (a, b) else next(rest) for i in range(x.ndim + 1))
    return spread_diagonal(x, shape=shape, offset=int(k), axis1=a, axis2=b)


# -- borders -----------------------------------------------------------------------------------------------------------

PAD_MODES = {
    "reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "replicate": "edge", "wrap": "wrap", "circular": "wrap",
}  # fmt: skip


def pad_by_mode(x: Any, widths: tuple[tuple[int, int], ...], mode: str) -> Any:
    """What :func:`lunar_core.ops.pad` does for every mode but ``constant``."""
    if mode not in PAD_MODES:
        raise ShapeError(f"pad: mode must be one of constant, {', '.join(PAD_MODES)}; got {mode!r}")
    empty = [i for i, (n, pair) in enumerate(zip(x.shape, widths)) if n == 0 and any(pair)]
    if empty:
        raise ShapeError(f"pad: mode {mode!r} cannot extend axis {empty[0]} of size 0")
    return _pad_mode(x, widths=widths, mode=PAD_MODES[mode])


@functools.lru_cache(maxsize=256)
def _runs(n: int, before: int, after: int, mode: str) -> tuple[tuple[int, int, int, int], ...]:
    """Where a border comes from: pieces (start, stop, source, step) whose sources go up, go down or stay by ``step``."""
    source = np.pad(np.arange(n), (before, after), mode=mode).tolist()  # type: ignore[call-overload]
    runs = []
    for low, high in ((0, before), (before + n, before + n + after)):
        start = low
        while start < high:
            stop = start + 1
            step = source[stop] - source[start] if stop < high else 0
            if step in (-1, 0, 1):
                while stop < high and source[stop] - source[stop - 1] == step:
                    stop += 1
            runs.append((start, stop, source[start], step if stop > start + 1 else 0))
            start = stop
    return tuple(runs)


def _fold_forward(xp: Any, g: Any, widths: tuple[tuple[int, int], ...], mode: str) -> Any:
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        n = g.shape[axis] - before - after
        head = (slice(None),) * axis
        out = g[(*head, slice(before, before + n))].copy()
        for start, stop, source, step in _runs(n, before, after, mode):
            piece = g[(*head, slice(start, stop))]
            if step == 0:
                out[(*head, slice(source, source + 1))] += xp.sum(piece, axis=axis, keepdims=True)
            elif step == 1:
                out[(*head, slice(source, source + stop - start))] += piece
            else:
                out[(*head, slice(source - (stop - start) + 1, source + 1))] += xp.flip(piece, axis)
        g = out
    return g


def _pad_mode_samples() -> list[Sample]:
    def call(mode: str, pads: tuple[int, ...]) -> Any:
        return lambda t, x: t.nn.functional.pad(x[None], pads, mode=mode)[0]

    wide = ((0, 0), (1, 2), (2, 0))
    return [
        Sample((array(0, (2, 3, 4)),), {"widths": wide, "mode": "reflect"}, torch=call("reflect", (2, 0, 1, 2))),
        Sample((array(1, (2, 3, 4)),), {"widths": wide, "mode": "edge"}, torch=call("replicate", (2, 0, 1, 2))),
        Sample((array(2, (2, 3, 4)),), {"widths": wide, "mode": "wrap"}, torch=call("circular", (2, 0, 1, 2))),
        Sample((array(3, (3, 2)),), {"widths": ((2, 1), (0, 1)), "mode": "symmetric"}, torch=lambda t, x: t.cat(
            [x[[1, 0]], x, x[[2]]])[:, [0, 1, 1]]),
        Sample((array(4, (2, 3)),), {"widths": ((0, 0), (7, 5)), "mode": "reflect"}, torch=lambda t, x: x[
            :, np.pad(np.arange(3), (7, 5), mode="reflect")]),
    ]  # fmt: skip


_pad_mode = Op(
    "pad_mode",
    lambda xp, x, widths, mode: xp.pad(x, widths, mode=mode),
    lambda F, g, saved, need, **how: (_pad_fold(g, **how),),
    jvp="linear",
    abstract=lambda x, widths, mode: Spec(tuple(n + a + b for n, (a, b) in zip(x.shape, widths)), x.dtype),
    samples=_pad_mode_samples,
    doc="A border that continues the array: reflect, symmetric, edge or wrap.",
)
_pad_fold: Op = Op(
    "pad_mode_grad",
    _fold_forward,
    lambda F, g, saved, need, **how: (_pad_mode(g, **how),),
    jvp="linear",
    abstract=lambda g, widths, mode: Spec(tuple(n - a - b for n, (a, b) in zip(g.shape, widths)), g.dtype),
    samples=lambda: [
        Sample((array(0, (2, 6)),), {"widths": ((0, 0), (1, 2)), "mode": m}) for m in ("reflect", "edge", "wrap")
    ],
    doc="The border added to where it came from: the adjoint of pad_mode.",
)
