"""Distances and similarities of vectors, the bilinear form, and normalisation across neighbouring channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import HyperparameterError, ShapeError
from .common import normalize_axis
from .elementwise import maximum, sqrt, where
from .linalg import einsum, matmul
from .reduction import norm
from .reduction import sum as sum_
from .shape import broadcast_to, pad


def _sum(x: Any, axis: int, keepdims: bool = False) -> Any:
    return sum_(x, axis=axis, keepdims=keepdims)


def cosine_similarity(x: Any, y: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """``x . y / (max(|x|, eps) max(|y|, eps))`` along ``axis``; both broadcast, and the axis goes."""
    ndim = max(x.ndim, y.ndim)
    (axis,) = normalize_axis(axis, ndim, "cosine_similarity")
    axis -= ndim  # of the right-aligned shapes
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError as exc:
        raise ShapeError(f"cosine_similarity: shapes {tuple(x.shape)} and {tuple(y.shape)} do not broadcast") from exc
    # an element that is repeated along the axis counts as often in the length
    x, y = (a if a.ndim >= -axis and a.shape[axis] == shape[axis] else broadcast_to(a, shape) for a in (x, y))
    lengths = [maximum(norm(a, axis=axis, keepdims=True), eps) for a in (x, y)]
    return _sum((x / lengths[0]) * (y / lengths[1]), axis)


def pairwise_distance(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Any:
    """The p-norm of ``x - y + eps`` along the last axis, as PyTorch defines it: (..., D), (..., D) -> (...)."""
    return norm(x - y + eps, axis=-1, keepdims=keepdims, ord=_order("pairwise_distance", p))


def _order(op: str, p: float) -> float:
    if not p >= 0:
        raise HyperparameterError(f"{op}: the order p of the norm must not be negative, got {p!r}")
    return p


def cdist(x: Any, y: Any, p: float = 2.0) -> Any:
    """Distances of all pairs: (..., M, D), (..., N, D) -> (..., M, N) in the p-norm.

    The Euclidean one (``p`` 2) is computed from differences where a matrix product would cancel: M and N up to 25, as
    in PyTorch's default mode; beyond as ``sqrt(|x|^2 + |y|^2 - 2 x . y)``, which loses half of the digits of distances
    much smaller than the vectors. The gradient at distance 0 is 0.
    """
    if min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"cdist expects (..., M, D) and (..., N, D), got {tuple(x.shape)} and {tuple(y.shape)}")
    m, n, p = x.shape[-2], y.shape[-2], _order("cdist", p)
    if p == 2 and max(m, n) > 25:
        square = _sum(x * x, -1, True) + _sum(y * y, -1, True).swapaxes(-1, -2) - matmul(x, y.swapaxes(-1, -2)) * 2
        positive = square > 0
        return where(positive, sqrt(where(positive, square, 1)), 0)
    left = x.reshape((*x.shape[:-2], m, 1, x.shape[-1]))
    right = y.reshape((*y.shape[:-2], 1, n, y.shape[-1]))
    return norm(left - right, axis=-1, ord=p)


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    """``x^T W_k y + b_k``: x (..., I), y (..., J), weight (K, I, J), bias (K,) or ``None`` -> (..., K)."""
    if weight.ndim != 3 or weight.shape[1:] != (x.shape[-1], y.shape[-1]) or x.shape[:-1] != y.shape[:-1]:
        raise ShapeError(
            f"bilinear: expected x (..., I), y (..., J) and weight (K, I, J), got {tuple(x.shape)}, {tuple(y.shape)} and "
            f"{tuple(weight.shape)}"
        )
    lead = tuple(x.shape[:-1])
    out = einsum("ni,kij,nj->nk", x.reshape((-1, x.shape[-1])), weight, y.reshape((-1, y.shape[-1])))
    out = out.reshape((*lead, weight.shape[0]))
    return out if bias is None else out + bias


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """``x / (k + alpha / size * sum of x^2 over size neighbouring channels) ** beta``: x (N, C, ...).

    The neighbourhood of channel c begins at ``c - size // 2``; channels outside count as 0.

    Source: A. Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012), section 3.3,
    with PyTorch's division of alpha by the size.
    """
    if x.ndim < 3:
        raise ShapeError(f"local_response_norm expects inputs of shape (N, C, ...), got {tuple(x.shape)}")
    if size < 1:
        raise HyperparameterError(f"local_response_norm: size must be at least 1, got {size!r}")
    channels = x.shape[1]
    widths = [(0, 0)] * x.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    square = pad(x * x, widths)
    total = square[:, :channels]
    for shift in range(1, size):
        total = total + square[:, shift : shift + channels]
    return x / (total * (alpha / size) + k) ** beta
