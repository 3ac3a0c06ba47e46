"""What every attention layer is, the cache for decoding, and attention without projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops, random
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.modes import modes
from lunar_core.module import Module
from lunar_core.tensor import Tensor
from lunar_layers.checks import require_floating


def raw(x: Any) -> Any:
    """The array of a tensor; an array as it is."""
    return x.data if isinstance(x, Tensor) else x


def beside(x: Any, values: np.ndarray) -> Any:
    """Host ``values`` as an array on the device of ``x``."""
    array = raw(x)
    owner = backend.of(array)
    return owner.from_numpy(values, owner.device_of(array))


class KeyValueCache:
    """What attention layers keep of the tokens so far, so that decoding computes each token once.

    Make an empty one, hand it to every call (``decoder(x, cache=cache)``) and give each call the new tokens only. A
    model hands one part on to each of its layers, :meth:`at`. ``length`` counts the tokens so far. Decode under
    ``no_grad``, where a token costs no copy of those before it; where gradients are recorded they flow into what is
    kept, and all of it is copied at each step.
    """

    __slots__ = ("_kept", "_parts", "_rooms", "length")

    def __init__(self) -> None:
        self.length = 0
        self._kept: dict[str, Tensor] = {}
        self._rooms: dict[str, Any] = {}  # arrays with room for more tokens, of which what is kept are the first
        self._parts: dict[Any, KeyValueCache] = {}

    def at(self, name: Any) -> KeyValueCache:
        """The part of this cache that belongs to the layer ``name``; made at the first call."""
        return self._parts.setdefault(name, KeyValueCache())

    def append(self, **new: Any) -> list[Tensor]:
        """Add arrays (..., time, width) after what is kept under their names; returns all of each, in that order."""
        before, results = self.length, []
        for name, x in new.items():
            kept = self._kept.get(name)
            self.length = before + x.shape[-2]
            if modes.grad and any(isinstance(t, Tensor) and t.requires_grad for t in (kept, x)):
                kept = x if kept is None else ops.concat([kept, x], axis=-2)
                self._rooms.pop(name, None)
            else:
                kept = Tensor(self._written(name, kept, raw(x), before))
            self._kept[name] = kept
            results.append(kept)
        return results

    def _written(self, name: str, kept: Tensor | None, x: Any, before: int) -> Any:
        """All tokens in the room of this name, which is doubled when it is full."""
        room = self._rooms.get(name)
        if room is None or room.shape[-2] < self.length:
            shape = (*x.shape[:-2], max(self.length, 2 * before, 16), x.shape[-1])
            room = self._rooms[name] = backend.of(x).xp.empty(shape, x.dtype)
            if kept is not None:
                room[..., :before, :] = kept.data
        room[..., before : self.length, :] = x
        return room[..., : self.length, :]

    def stored(self, *names: str) -> list[Tensor]:
        """What was appended under these names."""
        return [self._kept[name] for name in names]

    def state(self, name: str) -> Any:
        """What :meth:`keep` kept under this name; ``None`` before."""
        return self._kept.get(name)

    def keep(self, tokens: int, **states: Any) -> None:
        """Replace running states, which have no time axis, after ``tokens`` more tokens."""
        self._kept.update(states)
        self.length += tokens

    def reorder(self, index: Any) -> None:
        """Put the sequences in another order, or repeat them: ``index`` counts along the batch axis, as beam search needs."""
        self._kept = {name: kept[index] for name, kept in self._kept.items()}
        self._rooms.clear()
        for part in self._parts.values():
            part.reorder(index)

    def __repr__(self) -> str:
        return f"KeyValueCache(length={self.length})"


class Attention(Layer):
    """Base of layers that mix tokens, so that a Transformer takes any of them; write ``forward``.

    ``forward(query, key=None, value=None, *, ...)``: query (batch, queries, width) -> the same shape. Without ``key``
    the queries attend to themselves; ``value`` is ``key`` unless given. The keyword arguments:

    - ``attn_mask`` (queries, keys), (batch, queries, keys) or (batch, heads, queries, keys): bools, True where a query
      may attend to a key, or floats, which are added to the scores.
    - ``key_mask`` (batch, keys) of bools: True where there is a token, False where there is padding.
    - ``is_causal``: a query attends to keys at its own place and before only.
    - ``cache``: a :class:`KeyValueCache`. The queries come after the tokens in it; masks count these among the keys.
    - ``position``: a :class:`~lunar_layers.positions.PositionScheme`.

    A layer that has no use for one of them refuses it: :meth:`refuse`.
    """

    def refuse(self, hint: str = "", **given: Any) -> None:
        """Raise for arguments that are given although this layer cannot honour them."""
        names = [name for name, value in given.items() if value is not None and value is not False]
        if names:
            raise ShapeError(f"{type(self).__name__} does not take {' or '.join(names)}", hint=hint or None)


class AttentionWeights(Module):
    """Attention weights where they can be seen: hooks and regularizers on this module hear them.

    Scores (..., queries, keys) and bools ``allowed`` that broadcast to them -> weights of the same shape, whose rows sum
    to 1, or are 0 where nothing is allowed.
    """

    def forward(self, scores: Any, allowed: Any) -> Any:
        lowest = -1e4 if scores.dtype.itemsize == 2 else -1e30  # no infinities, whose differences are NaN
        return ops.softmax(ops.where(allowed & (raw(scores) > lowest), scores, lowest), axis=-1) * allowed


def attend(
    name: str,
    query: Any,
    key: Any,
    value: Any,
    *,
    attn_mask: Any = None,
    key_mask: Any = None,
    is_causal: bool = False,
    window: int | None = None,
    offset: int = 0,
    bias: Any = None,
    dropout: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
    weights: AttentionWeights | None = None,
) -> Any:
    """``softmax(query key^T * scale + bias) value`` under all that restricts it, for queries from ``offset`` on.

    Shapes: query (..., queries, width), key and value (..., keys, width), bias broadcasting to (..., queries, keys);
    the masks are those of :class:`Attention`, ``window`` hides keys that are so many tokens away. ``name`` is for
    errors. With ``weights`` all goes through that module, without it through the op, which is faster.
    """
    queries, keys = query.shape[-2], key.shape[-2]
    added = bias
    allowed = None if key_mask is None else key_mask_of(name, key_mask, query, keys)
    if attn_mask is not None:
        attn_mask = _attn_mask(name, attn_mask, query, queries, keys)
        if attn_mask.dtype.kind == "b":
            allowed = raw(attn_mask) if allowed is None else allowed & raw(attn_mask)
        else:
            added = attn_mask if added is None else added + attn_mask
    if weights is not None:
        distance = np.arange(offset, offset + queries)[:, None] - np.arange(keys)
        reach = (distance >= 0) | (not is_causal)
        if window is not None:
            reach &= np.abs(distance) < window
        reach = beside(query, reach)
        if enable_gqa:
            times = query.shape[1] // key.shape[1]
            key, value = ops.repeat(key, times, axis=1), ops.repeat(value, times, axis=1)
        scores = query * (query.shape[-1] ** -0.5 if scale is None else scale) @ key.swapaxes(-1, -2)
        shares = weights(scores if added is None else scores + added, reach if allowed is None else reach & allowed)
        return (shares if not dropout else ops.dropout(shares, dropout, random.stream("dropout").next())) @ value
    mask = added
    if mask is None:
        mask = allowed
    elif allowed is not None:
        mask = ops.where(allowed, mask, -np.inf)
    limits: Any = window
    if offset:  # the op counts queries and keys from 0
        before = after = -1 if window is None else window - 1
        after = 0 if is_causal else after
        if 0 <= before < offset:  # none of the queries sees the first keys
            skip = offset - before
            key, value, offset = key[..., skip:, :], value[..., skip:, :], offset - skip
            mask = mask if mask is None or mask.shape[-1] == 1 else mask[..., skip:]
        limits = (before - offset if before >= 0 else -1, after + offset if after >= 0 else -1)
        is_causal = False
    return ops.scaled_dot_product_attention(
        query, key, value, mask, dropout_p=dropout, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        window=limits,
    )  # fmt: skip


def key_mask_of(name: str, mask: Any, query: Any, keys: int) -> Any:
    """``key_mask`` as an array (batch, 1, ..., 1, keys) that broadcasts to the scores of ``query``."""
    mask = raw(mask)
    if isinstance(mask, (list, tuple)):
        mask = beside(query, np.asarray(mask))
    if mask.dtype.kind != "b":
        raise DTypeError(
            f"{name}: key_mask must hold bools, True where there is a token, got {mask.dtype}",
            hint="key_mask=tokens != padding_index",
        )
    if tuple(mask.shape) != (query.shape[0], keys):
        raise ShapeError(f"{name}: key_mask must be (batch, keys) = {(query.shape[0], keys)}, got {tuple(mask.shape)}")
    return mask.reshape((query.shape[0],) + (1,) * (query.ndim - 2) + (keys,))


def _attn_mask(name: str, mask: Any, query: Any, queries: int, keys: int) -> Any:
    if isinstance(mask, (list, tuple)):
        mask = beside(query, np.asarray(mask))
    shape = tuple(mask.shape)
    if mask.dtype.kind in "iu":
        raise DTypeError(
            f"{name}: attn_mask holds bools, True where a query may attend, or floats to add, got {mask.dtype}",
            hint='attn_mask.astype("bool")',
        )
    full = (*query.shape[:-1], keys)
    if len(shape) == 3 and len(full) == 4:  # (batch, queries, keys): the same for all heads
        mask = mask.reshape((shape[0], 1, *shape[1:]))
    fits = 2 <= mask.ndim <= len(full) and all(n in (1, m) for n, m in zip(mask.shape[::-1], full[::-1]))
    if not fits:
        raise ShapeError(
            f"{name}: attn_mask must be (queries, keys) = {(queries, keys)}, (batch, queries, keys) or "
            f"{'(batch, heads, queries, keys) = ' + str(full) if len(full) == 4 else 'all of ' + str(full)}, got {shape}"
        )
    if mask.dtype.kind == "b" or mask.dtype == query.dtype:
        return mask
    return mask.astype(query.dtype)


class ScaledDotProductAttention(Attention):
    """``softmax(q k^T * scale) v`` over the last two axes, without projections and parameters.

    Shapes: query (..., queries, width), key (..., keys, width), value (..., keys, value width) -> (..., queries, value
    width); the leading axes are those of batch and, where there are heads, heads. Masks and the cache are those of
    :class:`Attention`. ``scale`` is ``1 / sqrt(width)`` unless given; ``dropout`` drops attention weights in training.
    A query that may attend to no key gets zeros. Where there are many scores they are computed tile by tile and never
    stored (arXiv:2205.14135).

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, equation 1;
    ``torch.nn.functional.scaled_dot_product_attention``.

    Raises:
        ShapeError: widths or masks that do not fit.
        DTypeError: integer inputs or masks.
    """

    scale: float | None = field(default=None, doc="factor on the scores; None is 1 / sqrt(width)")
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout of attention weights"
    )
    window: int | None = field(
        default=None, validator=positive, kw_only=True, doc="keys further away than window - 1 are not seen"
    )

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        attn_mask: Any = None,
        key_mask: Any = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
        position: Any = None,
    ) -> Any:
        name = type(self).__name__
        itself = key is None
        key = query if key is None else key
        value = key if value is None else value
        for x in (query, key, value):
            require_floating(name, x)
        if query.ndim < 2 or key.ndim != query.ndim or key.shape[-1] != query.shape[-1] or query.shape[-1] == 0:
            raise ShapeError(
                f"{name} expects queries and keys (..., length, width) of one width, got {tuple(query.shape)} and "
                f"{tuple(key.shape)}"
            )
        if value.shape[:-1] != key.shape[:-1]:
            raise ShapeError(f"{name}: keys {tuple(key.shape)} and values {tuple(value.shape)} differ in length")
        offset, bias = 0, None
        if cache is not None and itself:
            offset = cache.length
        if position is not None and itself:
            query, key = position.rotated(query, key, offset)
        if cache is not None:
            key, value = cached(cache, key, value, itself)
        if position is not None and itself and position.acts_on == "scores":
            # it counts heads on axis 1, which inputs (batch, time, width) do not have
            bias = position.bias(*(x[:, None] if x.ndim == 3 else x for x in (query, key)), offset)
        return attend(
            name, query, key, value, attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal, window=self.window,
            offset=offset, bias=bias, dropout=self.dropout if self.training else 0.0, scale=self.scale,
        )  # fmt: skip


def cached(cache: KeyValueCache, key: Any, value: Any, itself: bool) -> list[Tensor]:
    """All keys and values: the new ones are appended to a sequence's own; those of another are kept from the first call."""
    if not itself and cache.length:
        return cache.stored("key", "value")
    return cache.append(key=key, value=value)
