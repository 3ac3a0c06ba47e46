"""Cutting an axis into several, stretches of an axis, blocks along a diagonal: unflatten, sliding_windows, block_diag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from .common import normalize_axis
from .indexing import read
from .shape import concat, moveaxis, pad, reshape, stack


def block_diag(arrays: Any) -> Any:
    """A matrix with the ``arrays`` (matrices; a vector is a row) along its diagonal and zeros elsewhere."""
    parts = [x if x.ndim > 1 else reshape(x, (1, -1)) for x in arrays]
    if not parts:
        raise ShapeError("block_diag: no arrays given")
    if any(p.ndim != 2 for p in parts):
        raise ShapeError(f"block_diag: expected matrices, got shapes {[tuple(p.shape) for p in parts]}")
    width, left, rows = sum(p.shape[1] for p in parts), 0, []
    for part in parts:
        rows.append(pad(part, ((0, 0), (left, width - left - part.shape[1]))))
        left += part.shape[1]
    return concat(rows, axis=0)


def unflatten(x: Any, axis: int, shape: Sequence[int]) -> Any:
    """``axis`` cut into axes of the sizes ``shape``, of which one may be -1: the inverse of :func:`flatten`."""
    axis = normalize_axis(axis, x.ndim, "unflatten")[0]
    sizes, n = [int(s) for s in shape], x.shape[axis]
    known = math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) == 1 and known > 0 and n % known == 0:
        sizes[sizes.index(-1)] = n // known
    if not sizes or min(sizes) < 0 or math.prod(sizes) != n:
        raise ShapeError(f"unflatten: axis {axis} of size {n} does not fit into {tuple(shape)}")
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def sliding_windows(x: Any, size: int, axis: int = -1, step: int = 1) -> Any:
    """All stretches of ``size`` elements along ``axis``, ``step`` apart, as a new last axis (PyTorch's ``Tensor.unfold``).

    Shapes: (..., n, ...) -> (..., (n - size) // step + 1, ..., size).
    """
    axis = normalize_axis(axis, x.ndim, "sliding_windows")[0]
    n = x.shape[axis]
    if step < 1 or not 0 <= size <= n:
        raise ShapeError(f"sliding_windows: size {size} and step {step} do not fit axis {axis} of size {n}")
    count = (n - size) // step + 1
    starts = [i * step for i in range(count)]
    front = (slice(None),) * axis
    if size <= count:  # few long slices, one for each place in a window
        parts = [read(x, (*front, slice(i, i + (count - 1) * step + 1, step))) for i in range(size)]
        return stack(parts, axis=x.ndim) if parts else reshape(read(x, (*front, slice(0, 0))), _emptied(x, axis, count))
    parts = [read(x, (*front, slice(i, i + size))) for i in starts]
    return moveaxis(stack(parts, axis=axis), axis + 1, -1)


def _emptied(x: Any, axis: int, count: int) -> tuple[int, ...]:
    return (*x.shape[:axis], count, *x.shape[axis + 1 :], 0)


__all__ = ["block_diag", "sliding_windows", "unflatten"]
