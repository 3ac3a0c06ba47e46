"""Sums, means and maxima of rows of a table, bag by bag."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from ..tensor import Tensor
from .indexing import _embedding, check_integers, embedding_grad, take_along_axis
from .reduction import sum as sum_

_MODES = ("sum", "mean", "max")


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _bags(xp: Any, indices: Any, offsets: Any, include_last_offset: bool) -> tuple[Any, int]:
    """Which bag each index is in, the indices flattened, and the number of bags."""
    if indices.ndim == 2:
        if offsets is not None:
            raise ShapeError("embedding_bag: indices (B, L) are bags of equal length and take no offsets")
        bags, length = indices.shape
        return xp.repeat(xp.arange(bags), length), bags
    if indices.ndim != 1 or offsets is None or offsets.ndim != 1:
        raise ShapeError(
            "embedding_bag expects indices (B, L), or indices (K) with offsets (B), got "
            f"{tuple(indices.shape)} and {None if offsets is None else tuple(offsets.shape)}"
        )
    check_integers(offsets, "embedding_bag")
    bags = offsets.shape[0] - bool(include_last_offset)
    host = backend.of(offsets).to_numpy(offsets)
    if bags < 0 or (host.size and (host[0] != 0 or (np.diff(host) < 0).any() or host[-1] > indices.shape[0])):
        raise IndexingError(
            f"embedding_bag: offsets must rise from 0 to at most the {indices.shape[0]} indices, got {host.tolist()}"
        )
    ends = host[1:] if include_last_offset else np.append(host[1:], indices.shape[0])
    lengths = ends - host[:bags]
    owner = backend.of(indices)
    return owner.from_numpy(np.repeat(np.arange(bags), lengths), owner.device_of(indices)), bags


def embedding_bag(
    indices: Any,
    weight: Any,
    offsets: Any = None,
    mode: str = "mean",
    per_sample_weights: Any = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
) -> Any:
    """Rows of ``weight`` (rows, width) picked by ``indices`` and put together bag by bag: (B, width).

    ``indices`` are integers (B, L), B bags of L, or (K) with ``offsets`` (B), where each bag begins (with
    ``include_last_offset`` (B + 1), the last being the end). ``mode`` is "sum", "mean" or "max".
    ``per_sample_weights``, of the shape of the indices, multiply the rows, for "sum" only. Indices equal to
    ``padding_idx`` are left out, also of the count of the mean, and get no gradient. An empty bag gives zeros; of equal
    maxima the first one gets the gradient.
    """
    if mode not in _MODES:
        raise HyperparameterError(f"embedding_bag: mode must be one of {', '.join(_MODES)}, got {mode!r}")
    check_integers(indices, "embedding_bag")
    if weight.ndim != 2:
        raise ShapeError(f"embedding_bag: weight must have shape (rows, width), got {tuple(weight.shape)}")
    if weight.dtype.kind in "biuc":
        raise DTypeError(f"embedding_bag expects a table of real floating numbers, got {weight.dtype}")
    if per_sample_weights is not None:
        if mode != "sum":
            raise HyperparameterError(f"embedding_bag: per_sample_weights go with mode 'sum', not {mode!r}")
        if tuple(per_sample_weights.shape) != tuple(indices.shape):
            raise ShapeError(
                f"embedding_bag: per_sample_weights must have the shape {tuple(indices.shape)} of the indices, "
                f"got {tuple(per_sample_weights.shape)}"
            )
        per_sample_weights = per_sample_weights.reshape(-1)
    places = _raw(indices)
    xp = backend.of(places).xp
    bag, bags = _bags(xp, places, None if offsets is None else _raw(offsets), include_last_offset)
    places = places.reshape(-1)[: bag.shape[0]]
    if per_sample_weights is not None:
        per_sample_weights = per_sample_weights[: bag.shape[0]]
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise IndexingError(f"embedding_bag: padding_idx {padding_idx} is out of range for {weight.shape[0]} rows")
        (kept,) = xp.nonzero(places != padding_idx % weight.shape[0])
        places, bag = places[kept], bag[kept]
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights[kept]
    rows = _embedding(weight, Tensor(places) if isinstance(weight, Tensor) else places)
    if mode == "max":
        return _largest(xp, rows, bag, bags)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape((-1, 1))
    out = embedding_grad(rows, Tensor(bag) if isinstance(rows, Tensor) else bag, rows=bags)
    if mode == "mean":
        counts = xp.maximum(xp.bincount(bag, minlength=bags), 1).astype(weight.dtype)
        out = out / counts[:, None]
    return out


def _largest(xp: Any, rows: Any, bag: Any, bags: int) -> Any:
    """The largest of each column among the rows of each bag: (bags, width)."""
    raw = _raw(rows)
    width = raw.shape[1]
    counts = xp.bincount(bag, minlength=bags)
    if not raw.shape[0]:
        return xp.zeros((bags, width), raw.dtype) + sum_(rows)  # in the graph, as any other result
    # sorted by falling value and then, stably, by bag: each bag's largest stands first among its rows
    order = xp.argsort(-raw, axis=0, kind="stable")
    by_bag = xp.argsort(bag[order], axis=0, kind="stable")
    ranked = xp.take_along_axis(order, by_bag, 0)  # grouped by bag, the largest first
    starts = xp.minimum(xp.cumsum(counts) - counts, raw.shape[0] - 1)
    best = ranked[starts]
    picked = take_along_axis(rows, Tensor(best) if isinstance(rows, Tensor) else best, 0)
    empty = (counts > 0).astype(raw.dtype)[:, None]
    return picked * empty
