"""Attention without softmax, linear in the length of the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_layers.attention import KeyValueCache, beside, key_mask_of
from lunar_layers.multi_head_attention import CrossAttention, join_heads

_CHUNK = 64  # tokens that are handled by one masked product; between chunks only the running sums pass


class LinearAttention(CrossAttention):
    """``phi(q_i) S / (phi(q_i) z)`` with ``S = sum_j phi(k_j)^T v_j``, ``z = sum_j phi(k_j)`` and ``phi(x) = elu(x) + 1``.

    Shapes: query (batch, queries, embed_dim), key and value (batch, keys, width) -> (batch, queries, embed_dim); heads
    and projections are those of :class:`~lunar_layers.multi_head_attention.ProjectedAttention`. Time and memory grow
    with the length, not with its square. With ``is_causal`` the sums run over the tokens up to i, in chunks; the cache
    keeps the two sums, whose size does not grow. ``key_mask`` leaves padding out of them. ``eps`` is added to the
    denominator.

    Source: A. Katharopoulos et al., Transformers are RNNs, arXiv:2006.16236, equations 5 to 12.

    Raises:
        ShapeError: inputs of other shapes; an ``attn_mask`` or a position scheme that acts on scores, since there are
            no scores.
    """

    eps: float = field(default=1e-6, validator=positive, kw_only=True, doc="added to the denominator")

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
        self.refuse("there are no scores to mask; is_causal and key_mask work", attn_mask=attn_mask)
        self._check(query, key, value)
        itself = key is None
        offset = cache.length if itself and cache is not None else 0
        if position is not None:
            if position.acts_on == "scores":
                self.refuse("there are no scores to add to", **{f"position={type(position).__name__}": True})
            if not itself:
                position = None
        if cache is not None and not itself and cache.length:  # the memory's sums are known
            sums = (ops.elu(self._queries(query)) + 1) @ cache.state("sum")
            return self._result(sums[..., :-1], sums[..., -1:])
        q, k, v = self._project(query, key, value)
        q, k = ops.elu(q) + 1, ops.elu(k) + 1
        if key_mask is not None:
            present = key_mask_of("LinearAttention", key_mask, q, offset + k.shape[-2])[..., offset:]
            k = k * present.swapaxes(-1, -2).astype(k.dtype)
        one = beside(v, np.ones((*v.shape[:-1], 1), v.dtype))
        is_causal = is_causal and itself
        if position is None:
            sums = self._sums(q, k, ops.concat([v, one], axis=-1), is_causal, cache, "sum")
            numerator, denominator = sums[..., :-1], sums[..., -1:]
        else:  # the denominator takes the features as they are: rotated ones would let it vanish (RoFormer, eq. 19)
            denominator = self._sums(q, k, one, is_causal, cache, "weight")
            numerator = self._sums(*position.rotated(q, k, offset), v, is_causal, cache, "sum")
        if cache is not None:
            cache.keep(k.shape[-2])
        return self._result(numerator, denominator)

    def _result(self, numerator: Any, denominator: Any) -> Any:
        return self.out_proj(join_heads(numerator / (denominator + self.eps)))

    def _sums(self, q: Any, k: Any, v: Any, is_causal: bool, cache: KeyValueCache | None, name: str) -> Any:
        """``sum_j (q_i . k_j) v_j``: (batch, heads, queries, width)."""
        state = None if cache is None else cache.state(name)
        if not is_causal:
            total = k.swapaxes(-1, -2) @ v
            state = total if state is None else total + state
            y = q @ state
        else:
            parts = []
            for start in range(0, q.shape[-2], _CHUNK):
                rows = (Ellipsis, slice(start, start + _CHUNK), slice(None))
                q_part, k_part, v_part = q[rows], k[rows], v[rows]
                own = ops.tril(q_part @ k_part.swapaxes(-1, -2)) @ v_part
                parts.append(own if state is None else own + q_part @ state)
                if cache is not None or start + _CHUNK < q.shape[-2]:
                    new = k_part.swapaxes(-1, -2) @ v_part
                    state = new if state is None else new + state
            y = parts[0] if len(parts) == 1 else ops.concat(parts, axis=-2)
        if cache is not None:
            cache.keep(0, **{name: state})
        return y
