"""Systems with a triangular matrix, and the logarithm of a determinant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from .complexes import angle
from .elementwise import add, multiply, where
from .inverse import slogdet, solve
from .matrix import check_square
from .rearrange import tril, triu
from .reduction import _like
from .shape import swapaxes


def solve_triangular(a: Any, b: Any, *, upper: bool = False, left: bool = True, unitriangular: bool = False) -> Any:
    """The x of ``a x = b``, or of ``x a = b`` where not ``left``, for triangular ``a``.

    Shapes: a (..., n, n), b (..., n, k) or (..., k, n); leading axes broadcast. Only the triangle that ``upper`` names is
    read, and gradients flow to it alone; with ``unitriangular`` the diagonal counts as ones. The system is solved as a
    general one, so it costs a factorization, and its accuracy is that of one.
    """
    check_square(a, "solve_triangular")
    n = a.shape[-1]
    if b.ndim < 2 or b.shape[-2 if left else -1] != n:
        raise ShapeError(
            f"solve_triangular: a {tuple(a.shape)} and b {tuple(b.shape)} do not fit: b needs {n} "
            f"{'rows' if left else 'columns'}"
        )
    offset = int(unitriangular)
    kept = triu(a, offset) if upper else tril(a, -offset)
    if unitriangular:
        kept = kept + _like(np.eye(n, dtype=a.dtype), a)
    if left:
        return solve(kept, b)
    return swapaxes(solve(swapaxes(kept, -1, -2), swapaxes(b, -1, -2)), -1, -2)


def logdet(x: Any) -> Any:
    """The logarithm of the determinant of square matrices (..., n, n) -> (...).

    NaN where a real determinant is negative, ``-inf`` where it is 0; of complex matrices the principal logarithm.
    :func:`slogdet` also tells the sign.
    """
    sign, size = slogdet(x)
    if sign.dtype.kind == "c":
        return add(size, multiply(angle(sign), 1j))
    return where(sign < 0, math.nan, size)


__all__ = ["logdet", "solve_triangular"]
