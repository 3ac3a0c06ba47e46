"""Ops that move or regroup elements without computing: reshape, transpose, concat, pad and friends."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import SHAPES, Op, Sample, Shape, Spec
from .common import array, normalize_axis


def _full_shape(shape: tuple[int, ...], size: int, of: tuple[int, ...]) -> tuple[int, ...]:
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ShapeError(f"reshape: {shape} must have non-negative sizes and at most one -1")
    known = math.prod(n for n in shape if n != -1)
    if -1 in shape and known and size % known == 0:
        shape = tuple(size // known if n == -1 else n for n in shape)
    if math.prod(shape) != size or -1 in shape:
        raise ShapeError(f"reshape: shape {of} has {size} elements and does not fit into {shape}")
    return shape


_reshape = Op(
    "reshape",
    lambda xp, x, shape: x.reshape(shape),
    lambda F, g, shape0, need, shape: (g.reshape(shape0),),
    save=Shape(0),
    jvp="linear",
    abstract=lambda x, shape: Spec(_full_shape(shape, math.prod(x.shape), x.shape), x.dtype),
    samples=[
        Sample((array(0, (2, 6)),), {"shape": (3, 4)}, torch=lambda t, x: x.reshape(3, 4)),
        Sample((array(1, (2, 3, 2)),), {"shape": (-1,)}, torch=lambda t, x: x.reshape(-1)),
        Sample((array(2, (1,)),), {"shape": ()}, torch=lambda t, x: x.reshape(())),
        Sample((array(3, (3, 4)).T,), {"shape": (2, 6)}, torch=lambda t, x: x.reshape(2, 6)),
    ],
    doc="The same elements in another shape.",
)


_apply_reshape = _reshape.applier(1)


def reshape(x: Any, *shape: Any) -> Any:
    """The same elements in another ``shape``; one size may be -1. A view where the memory layout allows it."""
    if len(shape) == 1 and type(shape[0]) is not int:
        shape = shape[0]  # NumPy itself refuses what does not fit
    return _apply_reshape(x, shape=shape)


def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Any:
    """Axes ``start_axis`` to ``end_axis`` merged into one."""
    if x.ndim == 0:
        return reshape(x, (1,))
    start = normalize_axis(start_axis, x.ndim, "flatten")[0]
    end = normalize_axis(end_axis, x.ndim, "flatten")[0]
    if end < start:
        raise ShapeError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@functools.lru_cache(maxsize=1024)
def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The order of axes that undoes ``axes``."""
    return tuple(axes.index(i) for i in range(len(axes)))


_transpose = Op(
    "transpose",
    lambda xp, x, axes: x.transpose(axes),
    lambda F, g, saved, need, axes: (g.transpose(_inverse(axes)),),
    jvp="linear",
    abstract=lambda x, axes: Spec(tuple(x.shape[a] for a in axes), x.dtype),
    samples=[
        Sample((array(0, (2, 3)),), {"axes": (1, 0)}, torch=lambda t, x: x.permute(1, 0)),
        Sample((array(1, (2, 3, 4)),), {"axes": (2, 0, 1)}, torch=lambda t, x: x.permute(2, 0, 1)),
    ],
    doc="Axes in another order.",
)


_REVERSED = [tuple(range(n))[::-1] for n in range(8)]
_reverse_axes = _transpose.applier(1)


def transpose(x: Any, *axes: Any) -> Any:
    """Axes in the order ``axes``, reversed when none are given; a view."""
    if len(axes) == 1 and not isinstance(axes[0], (int, np.integer)):
        axes = tuple(axes[0]) if axes[0] is not None else ()
    if not axes:
        return _reverse_axes(x, axes=_REVERSED[x.ndim] if x.ndim < 8 else tuple(range(x.ndim))[::-1])
    axes = normalize_axis(axes, x.ndim, "transpose")
    if len(axes) != x.ndim:
        raise ShapeError(f"transpose: {len(axes)} axes given for an array with {x.ndim}")
    return _transpose(x, axes=axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged; a view."""
    a, b = normalize_axis(axis1, x.ndim, "swapaxes")[0], normalize_axis(axis2, x.ndim, "swapaxes")[0]
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return _transpose(x, axes=tuple(order))


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes ``source`` moved to the places ``destination``, the others kept in order; a view."""
    src = normalize_axis(source, x.ndim, "moveaxis")
    dst = normalize_axis(destination, x.ndim, "moveaxis")
    if len(src) != len(dst):
        raise ShapeError(f"moveaxis: {len(src)} source axes for {len(dst)} destinations")
    order = [a for a in range(x.ndim) if a not in src]
    for d, s in sorted(zip(dst, src)):
        order.insert(d, s)
    return _transpose(x, axes=tuple(order))


def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size 1 at the places ``axis`` of the result."""
    count = 1 if isinstance(axis, int) else len(axis)
    axes = normalize_axis(axis, x.ndim + count, "expand_dims")
    sizes = iter(x.shape)
    return _reshape(x, shape=tuple(1 if i in axes else next(sizes) for i in range(x.ndim + count)))


def squeeze(x: Any, axis: Any = None) -> Any:
    """Axes of size 1 removed: those in ``axis``, or all."""
    if axis is None:
        return _reshape(x, shape=tuple(n for n in x.shape if n != 1))
    axes = normalize_axis(axis, x.ndim, "squeeze")
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} has size {x.shape[a]}, not 1, in shape {tuple(x.shape)}")
    return _reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _broadcast_forward(xp: Any, x: Any, shape: tuple[int, ...]) -> Any:
    if xp is np and math.prod(shape) <= 4096:  # NumPy takes 3 us to make the view; a small copy takes less
        out = np.empty(shape, x.dtype)
        out[...] = x
        return out
    return xp.broadcast_to(x, shape)


def _broadcast_spec(x: Spec, shape: tuple[int, ...]) -> Spec:
    lead = len(shape) - x.ndim
    if lead < 0 or any(n not in (1, wanted) for n, wanted in zip(x.shape, shape[lead:])):
        raise ShapeError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
    return Spec(shape, x.dtype)


_broadcast_to = Op(
    "broadcast_to",
    _broadcast_forward,
    lambda F, g, saved, need, shape: (g,),  # summed back by the engine
    broadcasts=True,
    jvp="linear",
    abstract=_broadcast_spec,
    samples=[
        Sample((array(0, (3,)),), {"shape": (2, 3)}, torch=lambda t, x: x.broadcast_to(2, 3)),
        Sample((array(1, (2, 1)),), {"shape": (4, 2, 3)}, torch=lambda t, x: x.broadcast_to(4, 2, 3)),
        Sample((array(2, ()),), {"shape": (2, 2)}, torch=lambda t, x: x.broadcast_to(2, 2)),
    ],
    doc="Repeated along axes of size 1 and new leading axes, as a read-only view.",
)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` repeated to ``shape`` by broadcasting; a read-only view when it is large."""
    return _broadcast_to(x, shape=tuple(shape))


# -- joining and splitting ---------------------------------------------------------------------------------------------


def _concat_vjp(F: Any, g: Any, shapes: Any, need: Any, axis: int) -> Any:
    results, start = [], 0
    for shape, needed in zip(shapes, need):
        stop = start + shape[axis]
        results.append(F.getitem(g, index=(slice(None),) * axis + (slice(start, stop),)) if needed else None)
        start = stop
    return results


def _concat_spec(*specs: Spec, axis: int) -> Spec:
    shape = list(specs[0].shape)
    for s in specs:
        if s.ndim != len(shape) or any(a != b for i, (a, b) in enumerate(zip(s.shape, shape)) if i != axis):
            shapes = " and ".join(str(s.shape) for s in specs)
            raise ShapeError(f"concat: shapes {shapes} must agree on every axis but axis {axis}")
    shape[axis] = sum(s.shape[axis] for s in specs)
    return Spec(tuple(shape), np.result_type(*[s.dtype for s in specs]))


_concat = Op(
    "concat",
    lambda xp, *arrays, axis: xp.concatenate(arrays, axis=axis),
    _concat_vjp,
    save=SHAPES,
    cast="promote",
    jvp="linear",
    abstract=_concat_spec,
    samples=[
        Sample((array(0, (2, 3)), array(1, (1, 3))), {"axis": 0}, torch=lambda t, *x: t.cat(x, 0)),
        Sample((array(2, (2, 1)), array(3, (2, 2)), array(4, (2, 3))), {"axis": 1}, torch=lambda t, *x: t.cat(x, 1)),
    ],
    doc="Arrays joined along an existing axis.",
)


def _arrays(arrays: Any, op: str) -> list[Any]:
    if not isinstance(arrays, Iterable):
        raise DTypeError(f"{op}: expected a sequence of arrays, got {type(arrays).__name__}")
    arrays = list(arrays)
    if not arrays:
        raise ShapeError(f"{op}: no arrays given")
    if not all(hasattr(x, "ndim") for x in arrays):
        raise DTypeError(f"{op}: expected arrays, got {', '.join(type(x).__name__ for x in arrays)}")
    return arrays


def concat(arrays: Any, axis: int | None = 0) -> Any:
    """The ``arrays`` joined along an existing ``axis``; their other sizes agree. ``None`` joins them flattened."""
    arrays = _arrays(arrays, "concat")
    if axis is None:
        arrays, axis = [reshape(x, (-1,)) for x in arrays], 0
    axis = normalize_axis(axis, arrays[0].ndim, "concat")[0]
    return _concat(*arrays, axis=axis)


def stack(arrays: Any, axis: int = 0) -> Any:
    """The ``arrays``, all of one shape, joined along a new ``axis``."""
    arrays = _arrays(arrays, "stack")
    shapes = {tuple(x.shape) for x in arrays}
    if len(shapes) > 1:
        raise ShapeError(f"stack: arrays of different shapes: {sorted(shapes)}")
    return concat([expand_dims(x, normalize_axis(axis, x.ndim + 1, "stack")[0]) for x in arrays], axis=axis)


def split(x: Any, sections: Any, axis: int = 0) -> list[Any]:
    """``x`` cut along ``axis``: into ``sections`` equal parts (an int), or at the given positions (a sequence)."""
    axis = normalize_axis(axis, x.ndim, "split")[0]
    size = x.shape[axis]
    if isinstance(sections, int):
        if sections <= 0 or size % sections:
            raise ShapeError(f"split: axis {axis} of size {size} cannot be cut into {sections} equal parts")
        edges = list(range(0, size + 1, size // sections)) if size else [0] * (sections + 1)
    else:
        edges = [0, *sections, size]
    return [x[(slice(None),) * axis + (slice(a, b),)] for a, b in zip(edges, edges[1:])]


def unbind(x: Any, axis: int = 0) -> list[Any]:
    """The slices of ``x`` along ``axis``, without that axis."""
    axis = normalize_axis(axis, x.ndim, "unbind")[0]
    return [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])]


# -- padding and mirroring ---------------------------------------------------------------------------------------------


def _pad_vjp(F: Any, g: Any, shape: tuple[int, ...], need: Any, widths: Any, value: float) -> Any:
    return (F.getitem(g, index=tuple(slice(a, a + n) for (a, _), n in zip(widths, shape))),)


_pad = Op(
    "pad",
    lambda xp, x, widths, value: xp.pad(x, widths, constant_values=value),
    _pad_vjp,
    jvp=lambda F, t, shape, widths, value: F.pad(t[0], widths),
    save=Shape(0),
    abstract=lambda x, widths, value: Spec(tuple(n + a + b for n, (a, b) in zip(x.shape, widths)), x.dtype),
    samples=[
        Sample(
            (array(0, (2, 3)),),
            {"widths": ((0, 0), (1, 2)), "value": 0.0},
            torch=lambda t, x: t.nn.functional.pad(x, (1, 2)),
        ),
        Sample(
            (array(1, (2, 3)),),
            {"widths": ((1, 0), (2, 1)), "value": 0.5},
            torch=lambda t, x: t.nn.functional.pad(x, (2, 1, 1, 0), value=0.5),
        ),
    ],
    doc="A border of a constant value.",
)


def pad(x: Any, widths: Any, mode: str = "constant", value: float = 0.0) -> Any:
    """``x`` with a border, as ``np.pad``; ``widths`` gives (before, after) for each axis, one pair or one number for all.

    ``mode`` is ``constant`` (a border of ``value``), ``reflect`` (mirrored, without the edge itself), ``symmetric``
    (mirrored with it), ``edge`` (PyTorch's ``replicate``) or ``wrap`` (``circular``); PyTorch's names are taken too.
    """
    try:
        pairs = np.broadcast_to(np.asarray(widths), (x.ndim, 2)).tolist()
    except ValueError:
        pairs = [[-1, -1]]
    if any(type(n) is not int or n < 0 for pair in pairs for n in pair):
        raise ShapeError(f"pad: expected {x.ndim} pairs of non-negative widths, got {widths}")
    widths = tuple((a, b) for a, b in pairs)
    if mode == "constant":
        return _pad(x, widths=widths, value=value)
    from .rearrange import pad_by_mode

    return pad_by_mode(x, widths, mode)


_flip = Op(
    "flip",
    lambda xp, x, axis: xp.flip(x, axis),
    lambda F, g, saved, need, axis: (F.flip(g, axis),),
    jvp="linear",
    abstract=lambda x, axis: x,
    samples=[
        Sample((array(0, (3,)),), {"axis": (0,)}, torch=lambda t, x: t.flip(x, (0,))),
        Sample((array(1, (2, 3)),), {"axis": (0, 1)}, torch=lambda t, x: t.flip(x, (0, 1))),
    ],
    doc="Elements in reverse order along axes.",
)


def flip(x: Any, axis: Any = None) -> Any:
    """Elements in reverse order along ``axis`` (all axes when ``None``); a view."""
    return _flip(x, axis=normalize_axis(axis, x.ndim, "flip"))
