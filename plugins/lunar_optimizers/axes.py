"""Square matrices, one for each axis of an array, kept in one vector, as the state of Shampoo and SOAP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lunar_core import backend


def matrix_axes(shape: Sequence[int], limit: int, vectors: bool = True) -> list[int]:
    """The axes that get a matrix: those no longer than ``limit``; none of scalars, or of vectors if those go without."""
    if len(shape) < (1 if vectors else 2):
        return []
    return [axis for axis, length in enumerate(shape) if length <= limit]


def pack(matrices: Iterable[Any], like: Any) -> Any:
    """Square matrices as one vector."""
    parts = [m.ravel() for m in matrices]
    xp = backend.of(like).xp
    return xp.concatenate(parts) if parts else xp.zeros_like(like, shape=(0,))


def unpack(vector: Any, shape: Sequence[int], axes: Sequence[int]) -> list[Any]:
    """The square matrices of ``axes`` that :func:`pack` put together; zeros where the vector is empty still."""
    matrices, at, xp = [], 0, backend.of(vector).xp
    for axis in axes:
        n = shape[axis]
        part = vector[at : at + n * n] if vector.size else xp.zeros_like(vector, shape=(n * n,))
        matrices.append(part.reshape(n, n))
        at += n * n
    return matrices


def gram(g: Any, axis: int) -> Any:
    """The (n, n) matrix of inner products of the slices along ``axis``."""
    flat = backend.of(g).xp.moveaxis(g, axis, 0).reshape(g.shape[axis], -1)
    return flat @ flat.T


def along(g: Any, matrix: Any, axis: int) -> Any:
    """``matrix`` applied along ``axis``: result[..., i, ...] = sum over j of matrix[i, j] * g[..., j, ...]."""
    xp = backend.of(g).xp
    return xp.moveaxis(xp.tensordot(matrix, g, axes=(1, axis)), 0, axis)
