"""Products and norms of matrices and vectors: dot, vecdot, kron, cross, trace, matrix_power, matrix_norm.

Leading axes are batches and broadcast. Inverses and solvers are in :mod:`lunar_core.ops.inverse`, factorizations in
:mod:`lunar_core.ops.decompositions`; what the three share is at the top of this file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import LinearAlgebraError, ShapeError
from ..op import Sample, Spec
from .common import array, complex_array, normalize_axis, speaks_as
from .elementwise import absolute, cast, conjugate, multiply, sqrt, where
from .linalg import matmul, tensordot
from .rearrange import diagonal
from .reduction import max_, min_, norm
from .reduction import sum as sum_
from .shape import broadcast_to, expand_dims, moveaxis, reshape, stack, swapaxes


def check_square(x: Any, op: str) -> None:
    """Refuse what is not a stack of square matrices."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{op}: expected square matrices in the last two axes, got shape {tuple(x.shape)}")


def check_matrix(x: Any, op: str) -> None:
    """Refuse what is not a stack of matrices."""
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected matrices in the last two axes, got shape {tuple(x.shape)}")


def adjoint(x: Any) -> Any:
    """The last two axes exchanged, and conjugated where the values are complex; raw arrays and Tensors alike."""
    x = x.swapaxes(-1, -2)
    return conjugate(x) if x.dtype.kind == "c" else x


def checked(op: str, function: Any) -> Any:
    """A forward whose numerical failures name the op."""

    def forward(xp: Any, *arrays: Any, **static: Any) -> Any:
        try:
            return function(xp, *arrays, **static)
        except np.linalg.LinAlgError as exc:
            raise LinearAlgebraError(f"{op}: {exc} (shape {tuple(arrays[0].shape)})") from exc

    return forward


def float_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in which a factorization computes: float64 for integers."""
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def float_spec(x: Spec, **static: Any) -> Spec:
    """Abstract rule of an op whose result looks like its input, in a floating dtype."""
    return Spec(x.shape, float_dtype(x.dtype))


def square(i: int, *shape: int, complex: bool = False) -> np.ndarray:
    """Samples: well-conditioned square matrices, random ones plus a multiple of the identity."""
    make = complex_array if complex else array
    return make(i, shape, -1.0, 1.0) + 2 * np.eye(shape[-1])


def squares(name: str) -> Any:
    """The sample table of a function of square matrices that PyTorch has as ``torch.linalg.<name>``."""

    def make() -> list[Sample]:
        arrays = [square(0, 3, 3), square(1, 2, 4, 4), square(2, 2, 2, 1, 1), square(3, 2, 3, 3, complex=True)]
        return [Sample((a,), torch=lambda t, x: getattr(t.linalg, name)(x)) for a in arrays]

    return make


# -- products ----------------------------------------------------------------------------------------------------------


@speaks_as("dot")
def dot(x: Any, y: Any) -> Any:
    """``np.dot``: the inner product of vectors, the matrix product of matrices, else a sum over the last axis of ``x``
    and the second-to-last axis of ``y`` that keeps all other axes of both. Complex values are not conjugated.
    """
    if not x.ndim or not y.ndim:
        return multiply(x, y)
    if x.ndim <= 2 and y.ndim <= 2:
        if x.shape[-1] != y.shape[0]:
            raise ShapeError(f"dot: inner sizes of {tuple(x.shape)} and {tuple(y.shape)} differ")
        return matmul(x, y)
    if y.ndim == 1:
        return matmul(x, y)
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 2,)))


def vecdot(x: Any, y: Any, axis: int = -1) -> Any:
    """Inner products of vectors along ``axis``, ``sum(conj(x) * y)``; the other axes broadcast (``np.vecdot``)."""
    if not x.ndim or not y.ndim:
        raise ShapeError(f"vecdot: expected vectors, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if axis >= 0:  # counted in either array before they broadcast
        a, b = normalize_axis(axis, x.ndim, "vecdot")[0] - x.ndim, normalize_axis(axis, y.ndim, "vecdot")[0] - y.ndim
    else:
        a, b = (normalize_axis(axis, v.ndim, "vecdot")[0] - v.ndim for v in (x, y))
    if a != b or x.shape[a] != y.shape[b]:
        raise ShapeError(f"vecdot: axis {axis} differs in shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if x.dtype.kind == "c":
        x = conjugate(x)
    return sum_(multiply(x, y), axis=a)


@speaks_as("kron")
def kron(x: Any, y: Any) -> Any:
    """Kronecker product: each element of ``x`` times the whole of ``y``; axes multiply in size (``np.kron``)."""
    if not hasattr(x, "reshape") or not hasattr(y, "reshape"):
        raise ShapeError(f"kron: expected two arrays, got {type(x).__name__} and {type(y).__name__}")
    rank = max(x.ndim, y.ndim)
    a, b = (1,) * (rank - x.ndim) + tuple(x.shape), (1,) * (rank - y.ndim) + tuple(y.shape)
    wide = reshape(x, tuple(n for s in a for n in (s, 1))) * reshape(y, tuple(n for s in b for n in (1, s)))
    return reshape(wide, tuple(m * n for m, n in zip(a, b)))


@speaks_as("cross")
def cross(x: Any, y: Any, axis: int = -1) -> Any:
    """Cross products of the 3-vectors along ``axis``; the other axes broadcast (``np.cross``)."""
    a, b = (normalize_axis(axis, v.ndim, "cross")[0] for v in (x, y))
    if x.shape[a] != 3 or y.shape[b] != 3:
        raise ShapeError(f"cross: expected 3 elements on axis {axis}, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    x0, x1, x2 = (moveaxis(x, a, 0)[i] for i in range(3))
    y0, y1, y2 = (moveaxis(y, b, 0)[i] for i in range(3))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return stack(parts, axis=axis)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal of axes ``axis1`` and ``axis2``, moved by ``offset`` (``np.trace``)."""
    if x.ndim < 2:
        raise ShapeError(f"trace: expected at least two axes, got shape {tuple(x.shape)}")
    return sum_(diagonal(x, offset, axis1, axis2), axis=-1)


def matrix_power(x: Any, n: int) -> Any:
    """The ``n``-th power of square matrices by repeated squaring; ``n`` < 0 inverts first, 0 gives identities."""
    from .inverse import inv
    from .reduction import _like

    check_square(x, "matrix_power")
    if not isinstance(n, (int, np.integer)):
        raise ShapeError(f"matrix_power: the exponent must be an int, got {n!r}")
    if n == 0:
        one = broadcast_to(_like(np.eye(x.shape[-1], dtype=x.dtype), x), tuple(x.shape))
        return type(x)(one) if hasattr(x, "node") else one
    base, rest = (inv(x), -n) if n < 0 else (x, n)
    result = None
    while rest:
        if rest & 1:
            result = base if result is None else matmul(result, base)
        rest >>= 1
        if rest:
            base = matmul(base, base)
    return result


# -- norms -------------------------------------------------------------------------------------------------------------


def matrix_norm(x: Any, ord: Any = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False) -> Any:
    """The norm of the matrices in the two axes ``axis``.

    ``ord``: ``"fro"`` root of the sum of squares, ``"nuc"`` sum of the singular values, ``2`` and ``-2`` the largest and
    the smallest of them, ``1`` and ``-1`` the largest and the smallest column sum of magnitudes, ``inf`` and ``-inf`` row sum.
    """
    from .decompositions import svdvals

    check_matrix(x, "matrix_norm")
    rows, columns = normalize_axis(axis, x.ndim, "matrix_norm")
    x = moveaxis(x, (rows, columns), (-2, -1))
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        pick = {"nuc": sum_, 2: max_, -2: min_}[ord]
        out = pick(values, axis=-1)
    elif ord == "fro":
        squares = sum_(absolute(x) ** 2 if x.dtype.kind == "c" else x * x, axis=(-2, -1))
        zero = squares == 0  # the slope at the zero matrix is 0
        out = where(zero, 0.0, sqrt(where(zero, 1.0, squares)))
    elif ord in (1, -1, math.inf, -math.inf):
        sums = sum_(absolute(x), axis=-2 if abs(ord) == 1 else -1)
        out = (max_ if ord > 0 else min_)(sums, axis=-1)
    else:
        raise ShapeError(f"matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")
    if not keepdims:
        return out
    rank = out.ndim
    wide = reshape(out, (*out.shape, 1, 1))
    return moveaxis(wide, (rank, rank + 1), (rows, columns))


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm of the vectors along ``axis``, of the flattened array when ``None``; :func:`lunar_core.ops.norm`."""
    return norm(x if x.dtype.kind not in "biu" else cast(x, dtype=np.dtype(np.float64)), axis, keepdims, ord)


def matrix_rank(x: Any, rtol: Any = None) -> Any:
    """How many singular values of the matrices (..., m, n) exceed ``rtol`` times the largest: int64 (...).

    ``rtol`` is a number or an array (...), by default ``max(m, n)`` times the dtype's spacing at 1. It has no gradient.
    """
    from .decompositions import svdvals

    check_matrix(x, "matrix_rank")
    values = svdvals(x.detach() if hasattr(x, "node") else x)
    if rtol is None:
        rtol = max(x.shape[-2:]) * float(np.finfo(values.dtype).eps)
    if not min(x.shape[-2:]):
        return sum_(values, axis=-1).astype(np.intp)
    limit = max_(values, axis=-1, keepdims=True) * (expand_dims(rtol, -1) if getattr(rtol, "ndim", 0) else rtol)
    return sum_(values > limit, axis=-1)


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged; a view."""
    check_matrix(x, "matrix_transpose")
    return swapaxes(x, -1, -2)


__all__ = [
    "cross", "dot", "kron", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip
