"""Scaled dot-product attention, with masks, a window, grouped heads and dropout.

Two ops by size. ``attention`` keeps the weights of all pairs of positions. ``attention_tiled`` keeps one number for each
query and computes the weights again, tile by tile, so that memory grows with the length and not with its square. Their
kernels are in ``attending``.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import backend, random
from ..errors import DTypeError, HyperparameterError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from ..tensor import Tensor
from . import attending
from .attending import Window, heads_of, reach_of
from .common import array
from .composition import composed_vjp
from .dropout import draw_mask, masked
from .elementwise import where
from .linalg import matmul
from .normalization import statistics_dtype
from .reduction import any_
from .softmax import softmax

_KEPT = 1 << 22  # weights at most that are kept for the backward pass

# -- rules -------------------------------------------------------------------------------------------------------------


def _composed(query: Any, key: Any, value: Any, mask: Any, kept: Any, scale: float, window: Window, rate: float) -> Any:
    """What the kernels compute, in plain ops: the rule of higher orders."""
    scores = matmul(query * scale, key.swapaxes(-1, -2))
    raw = scores.data if isinstance(scores, Tensor) else scores
    allowed = None
    reach = reach_of(raw.shape[-2], raw.shape[-1], window)
    if reach is not None:
        owner = backend.of(raw)
        allowed = owner.from_numpy(reach, owner.device_of(raw))
    if mask is not None:
        values = mask.data if isinstance(mask, Tensor) else mask
        visible = values if values.dtype == bool else values > -np.inf
        allowed = visible if allowed is None else allowed & visible
        if values.dtype != bool:
            scores = scores + where(visible, mask, 0)
    if allowed is not None:
        lowest = np.finfo(statistics_dtype(raw.dtype)).min / 4
        scores = where(allowed, scores, lowest)
    weights = softmax(scores, axis=-1)
    if allowed is not None:  # a query that sees no key has no weights
        weights = weights * any_(allowed, axis=-1, keepdims=True)
    if kept is not None:
        weights = masked(weights, kept, scale=rate)
    return matmul(weights, value)


def _attention_vjp(F: Any, g: Any, saved: Any, need: Any, scale: float, window: Window, rate: float) -> Any:
    query, key, value, _, kept, results = saved
    g = g[0]
    if isinstance(g, Tensor):
        composed = functools.partial(_composed, scale=scale, window=window, rate=rate)
        return composed_vjp(composed, saved[:5], g, need)
    found = F.attention_grad(g, query, key, value, kept, *results, scale=scale, rate=rate, mask_grad=need[3])
    return (*found, None) if need[3] else (*found, None, None)


def _attention_spec(query: Spec, key: Spec, value: Spec, *_: Any, **__: Any) -> tuple[Spec, ...]:
    heads = heads_of(query, key)
    queries, keys, dtype = query.shape[-2], key.shape[-2], statistics_dtype(query.dtype)
    return (
        Spec((*heads, queries, value.shape[-1]), query.dtype),
        Spec((*heads, queries, keys), dtype),
    )


def _tiled_spec(query: Spec, key: Spec, value: Spec, *_: Any, **__: Any) -> tuple[Spec, ...]:
    out, weights = _attention_spec(query, key, value)
    return out, Spec((*weights.shape[:-1], 1), weights.dtype)


def _tiled_vjp(F: Any, g: Any, saved: Any, need: Any, scale: float, window: Window, rate: float) -> Any:
    query, key, value, mask, kept, results = saved
    g = g[0]
    static = {"scale": scale, "window": window, "rate": rate}
    if isinstance(g, Tensor):
        return composed_vjp(lambda *xs: _composed(*xs, **static), saved[:5], g, need)  # type: ignore[arg-type]
    found = F.attention_tiled_grad(g, query, key, value, mask, kept, *results, mask_grad=need[3], **static)
    return (*found, None) if need[3] else (*found, None, None)


# -- ops ---------------------------------------------------------------------------------------------------------------


def _cases() -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Inputs (query, key, value, mask, kept) and keyword arguments."""
    q, k, v = array(0, (2, 3, 4)), array(1, (2, 5, 4)), array(2, (2, 5, 3))
    see = np.array([[True, False, True, True, False], [False] * 5, [True, True, False, True, True]])
    kept = array(4, (2, 3, 5)) > -1
    plain = {"scale": 0.5, "window": (-1, -1), "rate": 1.0}
    grouped = (array(5, (2, 2, 3, 4)), array(6, (2, 1, 5, 4)), array(7, (2, 1, 5, 4)))
    apart = tuple(array(8 + i, (2, 5, 3, 4)).transpose(0, 2, 1, 3) for i in range(3))
    return [
        ((q, k, v, None, None), plain),
        ((q, k, v, see, None), plain),
        ((q, k, v, array(3, (3, 5)), None), plain),
        ((q, k, v, array(3, (2, 1, 5)), None), {**plain, "window": (-1, 0)}),
        ((*apart, None, None), {**plain, "window": (1, 2)}),
        ((*grouped, None, None), {**plain, "window": (2, -1)}),
        ((q, k, v, None, kept), {**plain, "rate": 1.25}),
        ((q[0], k[0], v[0], see, kept[0]), {**plain, "rate": 2.0}),
    ]


def _sees(t: Any, query: Any, key: Any, window: Window) -> Any:
    reach = reach_of(query.shape[-2], key.shape[-2], window)
    return None if reach is None else t.from_numpy(reach.copy())


def _samples() -> list[Sample]:
    """With the formula in PyTorch's plain functions as the oracle; the function of the same name is compared elsewhere."""

    def call(mask: Any, kept: Any, scale: float, window: Window, rate: float) -> Any:
        def of(t: Any, q: Any, k: Any, v: Any, *more: Any) -> Any:
            scores = q @ k.mT * scale
            reach = _sees(t, q, k, window)
            if reach is not None:
                scores = scores.masked_fill(~reach, -t.inf)
            if mask is not None:
                scores = scores.masked_fill(~more[0], -t.inf) if mask.dtype == bool else scores + more[0]
            weights = t.softmax(scores, -1).nan_to_num(0.0)
            return (weights * (1 if kept is None else more[-1] * rate) @ v,)

        return of

    # a row without keys makes PyTorch's plain softmax NaN, its gradient too
    return [
        Sample(
            arrays,
            static,
            torch=None if arrays[3] is not None and arrays[3].dtype == bool else call(*arrays[3:], **static),
        )
        for arrays, static in _cases()
    ]


def _grad_samples(tiled: bool) -> list[Sample]:
    table = []
    for arrays, static in _cases():
        forward = attending.attention_tiled if tiled else attending.attention
        results = forward(np, *arrays, **static)
        g = array(30, results[0].shape)
        rest = dict(static) if tiled else {k: v for k, v in static.items() if k != "window"}
        mask = arrays[3]
        rest["mask_grad"] = mask is not None and mask.dtype != bool
        inputs = (g, *arrays[:3], *([mask] if tiled else []), arrays[4], *results)
        table.append(Sample(inputs, rest, grad=False))
    return table


def _grad_spec(g: Spec, query: Spec, key: Spec, value: Spec, *rest: Any, mask_grad: bool, **_: Any) -> tuple[Spec, ...]:
    heads = heads_of(query, key)
    shared = (*heads[:-1], 1) if len(key.shape) > 2 and key.shape[-3] == 1 else heads
    results = (
        Spec((*heads, *query.shape[-2:]), query.dtype),
        Spec((*shared, *key.shape[-2:]), key.dtype),
        Spec((*shared, *value.shape[-2:]), value.dtype),
    )
    if not mask_grad:
        return results
    return (*results, Spec((*heads, query.shape[-2], key.shape[-2]), statistics_dtype(query.dtype)))


_attention = Op(
    "attention",
    attending.attention,
    _attention_vjp,
    save=(0, 1, 2, 3, 4, OUTPUT),
    broadcasts=True,
    results=1,
    heavy=True,
    cast="low",
    abstract=_attention_spec,
    samples=_samples,
    doc="Scaled dot-product attention; then the weights.",
)
attention_grad = Op(
    "attention_grad",
    attending.attention_grad,
    None,
    heavy=True,
    abstract=_grad_spec,
    samples=lambda: _grad_samples(False),
    doc="Gradients of attention in query, key, value and, where asked for, in the additive mask.",
)
_attention_tiled = Op(
    "attention_tiled",
    attending.attention_tiled,
    _tiled_vjp,
    save=(0, 1, 2, 3, 4, OUTPUT),
    broadcasts=True,
    results=1,
    heavy=True,
    cast="low",
    abstract=_tiled_spec,
    samples=_samples,
    doc="Scaled dot-product attention over tiles; then the logarithm of the sum of exponentials for each query.",
)
attention_tiled_grad = Op(
    "attention_tiled_grad",
    attending.attention_tiled_grad,
    None,
    heavy=True,
    abstract=_grad_spec,
    samples=lambda: _grad_samples(True),
    doc="Gradients of attention_tiled in query, key, value and, where asked for, in the additive mask.",
)


# -- what a user calls -------------------------------------------------------------------------------------------------


def _window(window: Any, is_causal: bool) -> Window:
    name = "scaled_dot_product_attention"
    if window is None:
        before = after = -1
    elif isinstance(window, (int, np.integer)) and not isinstance(window, bool):
        if window < 1:
            raise HyperparameterError(f"{name}: window must be at least 1, got {window}")
        before = after = int(window) - 1
    else:
        try:
            before, after = (int(n) for n in window)
        except (TypeError, ValueError):
            raise HyperparameterError(
                f"{name}: window must be an int or a pair (keys before, keys after), got {window!r}"
            ) from None
        before, after = max(before, -1), max(after, -1)
    return before, 0 if is_causal else after


def _check(query: Any, key: Any, value: Any) -> None:
    name = "scaled_dot_product_attention"
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"{name} expects arrays of shape (..., length, width), got {shapes}")
    if query.shape[-1] != key.shape[-1]:
        raise ShapeError(f"{name}: query and key must have the same width, got {shapes}")
    if key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{name}: key and value must have the same length, got {shapes}")
    if key.shape[:-2] != value.shape[:-2]:
        raise ShapeError(f"{name}: key and value must have the same leading axes, got {shapes}")
    for x in (query, key, value):
        if x.dtype.kind in "biuc":
            raise DTypeError(f"{name} expects real floating inputs, got {x.dtype}")


def _grouped(query: Any, key: Any, value: Any, mask: Any) -> tuple[Any, Any, Any, Any]:
    """Query heads as (groups, heads in each): each key head then broadcasts over its group."""
    name = "scaled_dot_product_attention"
    if query.ndim < 3 or key.ndim != query.ndim or key.shape[-3] == 0 or query.shape[-3] % key.shape[-3]:
        raise ShapeError(
            f"{name}: enable_gqa needs a number of query heads that the number of key heads divides, "
            f"got query {tuple(query.shape)} and key {tuple(key.shape)}"
        )
    groups = key.shape[-3]
    each = query.shape[-3] // groups

    def spread(x: Any) -> Any:
        return x.reshape((*x.shape[:-3], groups, each, *x.shape[-2:]))

    def shared(x: Any) -> Any:
        return x.reshape((*x.shape[:-2], 1, *x.shape[-2:]))

    if mask is not None and mask.ndim > 2:
        mask = spread(mask) if mask.shape[-3] == query.shape[-3] else shared(mask)
    return spread(query), shared(key), shared(value), mask


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    window: Any = None,
) -> Any:
    """``softmax(query key^T * scale + mask) value``.

    Shapes: query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V); the leading axes are batch and heads and
    broadcast. ``scale`` is ``1 / sqrt(E)`` by default.

    ``attn_mask`` broadcasts to (..., L, S): bools, True where a query may attend to a key, or numbers that are added to
    the scores, differentiable. ``is_causal`` lets query i see the keys 0..i. ``window`` limits how far it sees: an int n
    to fewer than n positions away, a pair to so many keys before and after its own (-1 for no limit). All of them may be
    given together; PyTorch takes no mask beside ``is_causal`` and has no window. A query that sees no key gives zeros, as
    in PyTorch.

    ``enable_gqa`` lets each of the key's heads serve a group of consecutive query heads (arXiv:2305.13245), without copies
    of them. ``dropout_p`` drops weights and scales the others; it is applied whenever it is not 0 and draws from the
    stream "dropout".

    Where all weights together are more than 2^22 numbers, they are computed tile by tile and again in the backward pass.

    Source: A. Vaswani et al., arXiv:1706.03762; the tiles are those of T. Dao et al., arXiv:2205.14135.
    """
    _check(query, key, value)
    limits = _window(window, is_causal)
    if not 0 <= dropout_p < 1:
        raise HyperparameterError(f"scaled_dot_product_attention: dropout_p must be in [0, 1), got {dropout_p!r}")
    out_shape = None
    if enable_gqa:
        out_shape = (*query.shape[:-1], value.shape[-1])
        query, key, value, attn_mask = _grouped(query, key, value, attn_mask)
    try:
        weights_shape = (*heads_of(query, key), query.shape[-2], key.shape[-2])
    except ValueError:
        raise ShapeError(
            f"scaled_dot_product_attention: leading axes of query {tuple(query.shape)} and key {tuple(key.shape)} "
            "do not broadcast",
            hint="enable_gqa=True lets each key head serve several query heads",
        ) from None
    _check_mask(attn_mask, weights_shape)
    kept, rate = None, 1.0
    if dropout_p:
        kept, rate = draw_mask(query, dropout_p, random.stream("dropout").next(), weights_shape)
    if scale is None:
        scale = 1 / math.sqrt(max(query.shape[-1], 1))
    op = _apply_attention if math.prod(weights_shape) <= _KEPT else _apply_tiled
    out = op(query, key, value, attn_mask, kept, scale=float(scale), window=limits, rate=rate)[0]
    return out if out_shape is None else out.reshape(out_shape)


def _check_mask(mask: Any, shape: tuple[int, ...]) -> None:
    if mask is None:
        return
    if mask.dtype.kind not in "bf" and mask.dtype.itemsize != 2:
        raise DTypeError(
            f"scaled_dot_product_attention: attn_mask must hold bools or floats, got {mask.dtype}",
            hint='mask.astype("bool")',
        )
    given = tuple(mask.shape)
    try:
        fits = np.broadcast_shapes(given, shape) == shape
    except ValueError:
        fits = False
    if not fits or len(given) < 2:
        raise ShapeError(f"scaled_dot_product_attention: attn_mask of shape {given} does not broadcast to {shape}")


_apply_attention, _apply_tiled = _attention.applier(5), _attention_tiled.applier(5)
