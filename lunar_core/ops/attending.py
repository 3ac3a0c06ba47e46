"""The kernels of scaled dot-product attention, forward and backward, on raw arrays.

Shapes: query (..., L, E), key (..., S, E), value (..., S, V); the leading axes broadcast. ``mask`` broadcasts to (..., L, S) and
holds bools or numbers to add; ``kept`` is the mask of dropout, ``rate`` what it multiplies by.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .linalg import product
from .normalization import single
from .softmax import largest, row_total

TILE = 256  # queries and keys of a tile

Window = tuple[int, int]  # how many keys before and after its own position a query sees; -1 for all


def reach_of(queries: int, keys: int, window: Window, ahead: int = 0) -> np.ndarray | None:
    """Which keys are in the window of which queries, ``None`` for all; the first key is ``ahead`` of the first query."""
    before, after = window
    if (before < 0 or before >= queries - 1 - ahead) and (after < 0 or after >= keys - 1 + ahead):
        return None
    distance = np.arange(ahead, ahead + keys) - np.arange(queries)[:, None]
    reach = np.ones(distance.shape, bool)
    if before >= 0:
        reach &= distance >= -before
    if after >= 0:
        reach &= distance <= after
    return reach


@functools.lru_cache(maxsize=8)
def _barrier(queries: int, keys: int, window: Window, ahead: int, dtype: np.dtype) -> np.ndarray | None:
    """0 in the window and minus infinity outside, to be added to scores."""
    reach = reach_of(queries, keys, window, ahead)
    if reach is None:
        return None
    result = np.where(reach, dtype.type(0), dtype.type(-np.inf))
    result.flags.writeable = False
    return result


def _add_window(xp: Any, scores: Any, window: Window, ahead: int = 0) -> None:
    """Set the scores outside of the window to minus infinity."""
    if window == (-1, -1):
        return
    queries, keys = scores.shape[-2:]
    if xp is np:
        barrier = _barrier(queries, keys, window, ahead, scores.dtype)
        if barrier is not None:
            scores += barrier
        return
    distance = xp.arange(ahead, ahead + keys) - xp.arange(queries)[:, None]
    before, after = window
    if before >= 0:
        scores += xp.where(distance >= -before, 0, -np.inf).astype(scores.dtype)
    if after >= 0:
        scores += xp.where(distance <= after, 0, -np.inf).astype(scores.dtype)


def _add_mask(xp: Any, scores: Any, mask: Any) -> None:
    if mask is None:
        return
    if mask.dtype == bool:
        scores += xp.where(mask, 0, -np.inf).astype(scores.dtype)
    else:
        scores += mask


def _like_query(xp: Any, shape: tuple[int, ...], query: Any) -> Any:
    """An empty array in which the axes lie as those of ``query``: heads that were cut from one axis go back as a view."""
    if xp is not np or len(shape) != query.ndim:
        return xp.empty(shape, query.dtype)
    order = sorted(range(len(shape)), key=lambda i: -abs(query.strides[i]) if query.shape[i] > 1 else -math.inf)
    if order[-1] != len(shape) - 1:  # the products want the width innermost
        return np.empty(shape, query.dtype)
    back = np.argsort(order)
    return np.empty([shape[i] for i in order], query.dtype).transpose(back)


def heads_of(query: Any, key: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(query.shape[:-2], key.shape[:-2])


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _product(xp: Any, a: Any, b: Any, like: Any) -> Any:
    """``a @ b`` in the memory order of ``like``."""
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    out = _like_query(xp, shape, like)
    out[...] = product(a, b)
    return out


def _exponentials(xp: Any, scores: Any) -> None:
    """``exp(scores - largest)`` in place; rows without any finite score become zeros."""
    if not scores.shape[-1]:
        return
    top = largest(xp, scores, scores.ndim - 1)
    top[top == -np.inf] = 0
    scores -= top
    xp.exp(scores, out=scores)


# -- weights kept ------------------------------------------------------------------------------------------------------


def attention(
    xp: Any, query: Any, key: Any, value: Any, mask: Any, kept: Any, scale: float, window: Window, rate: float
) -> tuple[Any, Any]:
    dtype = query.dtype
    query, key, value = single(query), single(key), single(value)
    weights = product(query * scale, _t(key))
    _add_mask(xp, weights, mask)
    _add_window(xp, weights, window)
    _exponentials(xp, weights)
    total = row_total(xp, weights, weights.ndim - 1)
    total[total == 0] = 1  # a query that sees no key has no weights
    weights /= total
    if kept is None:
        out = _product(xp, weights, value, query)
    else:
        out = _product(xp, weights * kept, value, query)
        out *= rate
    return out.astype(dtype, copy=False), weights


def attention_grad(
    xp: Any,
    g: Any,
    query: Any,
    key: Any,
    value: Any,
    kept: Any,
    out: Any,
    weights: Any,
    scale: float,
    rate: float,
    mask_grad: bool,
) -> tuple[Any, ...]:
    dtypes = query.dtype, key.dtype, value.dtype
    query, key, value = single(query), single(key), single(value)
    g = single(g)
    along = _row_dots(xp, g, single(out))
    used = weights
    if kept is not None:
        used, g = weights * kept, g * rate
    d_value = _folded(xp, used, g, value)
    slopes = product(g, _t(value))
    if kept is not None:
        slopes *= kept
    slopes -= along
    slopes *= weights
    d_query = _product(xp, slopes, key, query)
    d_query *= scale
    d_key = _folded(xp, slopes, query, key)
    d_key *= scale
    results = tuple(r.astype(d, copy=False) for r, d in zip((d_query, d_key, d_value), dtypes))
    return (*results, slopes) if mask_grad else results


def _row_dots(xp: Any, a: Any, b: Any) -> Any:
    """Products summed over the last axis, which stays."""
    return np.vecdot(a, b)[..., None] if xp is np else (a * b).sum(axis=-1, keepdims=True)


def _folded(xp: Any, weights: Any, rows: Any, like: Any) -> Any:
    """``weights^T @ rows`` for keys or values; those that several query heads share get the sum over these."""
    if like.ndim > 2 and like.shape[-3] == 1 and weights.shape[-3] > 1 and weights.ndim == rows.ndim:
        weights = weights.reshape(*weights.shape[:-3], 1, -1, weights.shape[-1])
        rows = rows.reshape(*rows.shape[:-3], 1, -1, rows.shape[-1])
    return _product(xp, _t(weights), rows, like)


# -- weights computed again --------------------------------------------------------------------------------------------


def tiles_of(queries: int, keys: int, window: Window) -> Any:
    """(rows, [columns, ...]): tiles that have a weight at all."""
    before, after = window
    for first in range(0, queries, TILE):
        last = min(first + TILE, queries)
        low = 0 if before < 0 else max(0, first - before)
        high = keys if after < 0 else min(keys, last + after)
        yield (
            slice(first, last),
            [slice(start, min(start + TILE, high)) for start in range(low // TILE * TILE, max(high, 0), TILE)],
        )


def _tile_of(x: Any, rows: slice, columns: slice) -> Any:
    """A tile of a mask, which broadcasts."""
    if x is None:
        return None
    return x[..., rows if x.shape[-2] > 1 else slice(None), columns if x.shape[-1] > 1 else slice(None)]


def _tile_scores(xp: Any, query: Any, key: Any, mask: Any, window: Window, rows: slice, columns: slice) -> Any:
    scores = product(query, _t(key[..., columns, :]))
    _add_mask(xp, scores, _tile_of(mask, rows, columns))
    _add_window(xp, scores, window, columns.start - rows.start)
    return scores


def attention_tiled(
    xp: Any, query: Any, key: Any, value: Any, mask: Any, kept: Any, scale: float, window: Window, rate: float
) -> tuple[Any, Any]:
    dtype = query.dtype
    query, key, value = single(query), single(key), single(value)
    heads, queries, keys = heads_of(query, key), query.shape[-2], key.shape[-2]
    out = _like_query(xp, (*heads, queries, value.shape[-1]), query)
    logs = xp.empty((*heads, queries, 1), query.dtype)
    for rows, tiles in tiles_of(queries, keys, window):
        q = query[..., rows, :] * scale
        total: Any = None
        highest: Any = None
        for columns in tiles:
            scores = _tile_scores(xp, q, key, mask, window, rows, columns)
            tops = largest(xp, scores, scores.ndim - 1)
            if total is not None:
                tops = xp.maximum(tops, highest)
            tops[tops == -np.inf] = np.finfo(tops.dtype).min
            scores -= tops
            xp.exp(scores, out=scores)
            part = row_total(xp, scores, scores.ndim - 1)
            drop = _tile_of(kept, rows, columns)
            if drop is not None:
                scores *= drop
            weighted = product(scores, value[..., columns, :])
            if total is None:
                total, summed = part, weighted
            else:
                shrink = xp.exp(highest - tops)
                total = total * shrink + part
                summed *= shrink
                summed += weighted
            highest = tops
        if total is None:
            out[..., rows, :], logs[..., rows, :] = 0, np.inf
            continue
        empty = total == 0
        total[empty] = 1
        summed *= rate / total
        out[..., rows, :] = summed
        logs[..., rows, :] = xp.where(empty, np.inf, highest + xp.log(total))
    return out.astype(dtype, copy=False), logs


def attention_tiled_grad(
    xp: Any,
    g: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    kept: Any,
    out: Any,
    logs: Any,
    scale: float,
    window: Window,
    rate: float,
    mask_grad: bool,
) -> tuple[Any, ...]:
    originals = query, key, value
    query, key, value, g = single(query), single(key), single(value), single(g)
    heads, queries, keys = heads_of(query, key), query.shape[-2], key.shape[-2]
    dtype = query.dtype
    along = _row_dots(xp, g, single(out))
    d_query = _like_query(xp, (*heads, queries, query.shape[-1]), query)
    shared = key.ndim > 2 and key.shape[-3] == 1
    over = (*heads[:-1], 1) if shared else heads
    d_key, d_value = xp.zeros((*over, *key.shape[-2:]), dtype), xp.zeros((*over, *value.shape[-2:]), dtype)
    d_mask = xp.zeros((*heads, queries, keys), dtype) if mask_grad else None
    for rows, tiles in tiles_of(queries, keys, window):
        q, gi = query[..., rows, :] * scale, g[..., rows, :]
        dq: Any = 0
        for columns in tiles:
            weights = _tile_scores(xp, q, key, mask, window, rows, columns)
            weights -= logs[..., rows, :]
            xp.exp(weights, out=weights)
            slopes = product(gi, _t(value[..., columns, :]))
            drop = _tile_of(kept, rows, columns)
            used = weights
            if drop is not None:
                used = weights * drop
                used *= rate
                slopes *= drop
                slopes *= rate
            d_value[..., columns, :] += _folded(xp, used, gi, value[..., columns, :])
            slopes -= along[..., rows, :]
            slopes *= weights
            dq = dq + product(slopes, key[..., columns, :])
            d_key[..., columns, :] += _folded(xp, slopes, q, key[..., columns, :])
            if d_mask is not None:
                d_mask[..., rows, columns] = slopes
        d_query[..., rows, :] = dq
    d_query *= scale
    results = tuple(r.astype(o.dtype, copy=False) for r, o in zip((d_query, d_key, d_value), originals))
    return results if d_mask is None else (*results, d_mask)
