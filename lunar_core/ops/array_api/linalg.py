"""The linear-algebra extension of the standard: functions of :mod:`lunar_core.ops` over stacks of matrices."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...errors import ShapeError
from .. import (
    cholesky,
    cross,
    det,
    eigh,
    eigvalsh,
    inv,
    matmul,
    matrix_power,
    matrix_rank,
    matrix_transpose,
    pinv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
    tensordot,
    vecdot,
)
from ._adapted import _as


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of the matrices in the last two axes, as the last axis."""
    return ops.diagonal(x, offset, -2, -1)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of the matrices in the last two axes."""
    return ops.matrix_norm(x, ord, keepdims=keepdims)


def outer(x1: Any, x2: Any, /) -> Any:
    """The outer product of two vectors: (n), (m) -> (n, m)."""
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(f"outer: expected two vectors, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    return ops.outer(x1, x2)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of the matrices in the last two axes, in ``dtype`` if given."""
    return ops.trace(_as(x, dtype), offset, -2, -1)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm of the vectors along ``axis``, of all elements when ``None``."""
    return ops.vector_norm(x, axis, keepdims, ord)


__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip
