"""Attention in several heads with learned projections."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, in_range, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.attention import Attention, AttentionWeights, KeyValueCache, attend, cached
from lunar_layers.checks import require_sequences
from lunar_layers.dense import Dense
from lunar_layers.initializers import XavierUniform, Zeros, as_initializer
from lunar_layers.parts import make_part, part


class ProjectedAttention(Attention):
    """Base of attention layers that project their inputs to queries, keys and values in heads, and the result back.

    ``in_proj_weight`` ((heads + 2 key heads) * head width, width) has the rows of queries, keys and values one after
    the other, ``in_proj_bias`` the same; where keys or values come in another width than queries there are
    ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight`` instead. ``out_proj`` leads back to the width of the
    queries. Names and layouts are those of ``torch.nn.MultiheadAttention``.
    """

    num_heads: int = field(default=8, validator=positive, doc="heads of the queries")
    embed_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of the queries; None learns it from the first call"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add learned offsets in the projections")
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of the projections"
    )
    bias_init: Initializer = field(
        factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of the offsets"
    )

    def __attrs_post_init__(self) -> None:
        if self.embed_dim is not None:
            self._sizes(self.embed_dim)
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.embed_dim is None else Spec((1, 1, self.embed_dim), modes.dtype)

    def _sizes(self, width: int) -> tuple[int, int, int]:
        """Number of query heads and of key heads, and the width of a head."""
        if width % self.num_heads:
            near = [n for n in range(1, width + 1) if width % n == 0]
            best = min(near, key=lambda n: abs(n - self.num_heads))
            error = hyperparameter_error(
                self, "num_heads", self.num_heads, f"a divisor of the width of the queries, {width}"
            )
            error.hint = f"num_heads={best} divides {width}"
            raise error
        return self.num_heads, self.num_heads, width // self.num_heads

    def build(self, query: Any, key: Any = None, value: Any = None, **_: Any) -> None:
        name = type(self).__name__
        require_sequences(name, query, self.embed_dim)
        width = query.shape[-1]
        heads, key_heads, size = self._sizes(width)
        widths, rows = (width, *self._key_widths(query, key, value)), (heads * size, key_heads * size, key_heads * size)
        self.embed_dim = width
        if widths == (width,) * 3:
            self.in_proj_weight = Parameter(self.weight_init((sum(rows), width)))  # (query, key, value rows, width)
        else:
            self.in_proj_weight = None
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
                Parameter(self.weight_init((n, w))) for n, w in zip(rows, widths)
            )
        self.in_proj_bias = Parameter(self.bias_init((sum(rows),))) if self.use_bias else None
        self.out_proj = Dense(
            width, in_features=rows[0], use_bias=self.use_bias, weight_init=self.weight_init, bias_init=self.bias_init
        )

    def _key_widths(self, query: Any, key: Any, value: Any) -> tuple[int, int]:
        """The widths of keys and values."""
        return query.shape[-1], query.shape[-1]

    def _project(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """Queries, keys and values (batch, heads, time, head width); ``key`` is ``None`` for a sequence's own."""
        heads, key_heads, size = self._sizes(self.embed_dim or 0)
        ends = [heads * size, (heads + key_heads) * size]
        if key is None and self.in_proj_weight is not None:
            joint = ops.linear(query, self.in_proj_weight, self.in_proj_bias)
            joint = joint.reshape((*joint.shape[:2], heads + 2 * key_heads, size))
            q, k, v = ops.split(joint, [heads, heads + key_heads], axis=2)
            return q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)
        key = query if key is None else key
        value = key if value is None else value
        if self.in_proj_weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            weights = ops.split(self.in_proj_weight, ends)
        biases = [None] * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, ends)
        q, k, v = (ops.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
        return split_heads(q, heads), split_heads(k, key_heads), split_heads(v, key_heads)

    def _queries(self, query: Any) -> Any:
        heads, _, size = self._sizes(self.embed_dim or 0)
        rows = heads * size
        weight = self.q_proj_weight if self.in_proj_weight is None else self.in_proj_weight[:rows]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[:rows]
        return split_heads(ops.linear(query, weight, bias), heads)

    def _check(self, query: Any, key: Any, value: Any) -> None:
        name = type(self).__name__
        require_sequences(name, query, self.embed_dim)
        if self.in_proj_weight is None:
            widths = self.k_proj_weight.shape[1], self.v_proj_weight.shape[1]
        else:
            widths = query.shape[2], query.shape[2]
        if key is None and widths != (query.shape[2],) * 2:
            raise ShapeError(f"{name} was built for keys of width {widths[0]} and values of {widths[1]}: give them")
        for label, x, width in (("key", key, widths[0]), ("value", key if value is None else value, widths[1])):
            if x is not None:
                require_sequences(f"{name} ({label})", x, width)
                if x.shape[0] != query.shape[0]:
                    raise ShapeError(f"{name}: {query.shape[0]} sequences of queries, but {label} is {tuple(x.shape)}")
        keys = query if key is None else key
        if value is not None and value.shape[1] != keys.shape[1]:
            raise ShapeError(f"{name}: keys and values differ in length: {tuple(keys.shape)} and {tuple(value.shape)}")


class CrossAttention(ProjectedAttention):
    """Base of those that may attend to another sequence, of another width."""

    key_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of keys; None learns it, or is that of the queries"
    )
    value_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of values; None learns it, or is that of the keys"
    )

    def _key_widths(self, query: Any, key: Any, value: Any) -> tuple[int, int]:
        for label, x, width in (("key", key, self.key_dim), ("value", value, self.value_dim)):
            if x is not None:
                require_sequences(f"{type(self).__name__} ({label})", x, width)
        if self.key_dim is None:
            self.key_dim = (query if key is None else key).shape[-1]
        if self.value_dim is None:
            self.value_dim = self.key_dim if value is None else value.shape[-1]
        return self.key_dim, self.value_dim


def split_heads(x: Any, heads: int) -> Any:
    """(batch, time, heads * width) -> (batch, heads, time, width)."""
    return x.reshape((*x.shape[:2], heads, x.shape[2] // heads)).swapaxes(1, 2)


def join_heads(x: Any) -> Any:
    """(batch, heads, time, width) -> (batch, time, heads * width)."""
    x = x.swapaxes(1, 2)
    return x.reshape((*x.shape[:2], x.shape[2] * x.shape[3]))


class MultiHeadAttention(CrossAttention):
    """Attention in several heads: ``concat(head_1, ..., head_h) W_o`` with ``head_i = attention(q W_i, k W_i, v W_i)``.

    Shapes: query (batch, queries, embed_dim), key (batch, keys, key width), value (batch, keys, value width) -> (batch,
    queries, embed_dim). Without ``key`` a sequence attends to itself; ``value`` is ``key`` unless given. Masks, the
    cache for decoding and positions are those of :class:`~lunar_layers.attention.Attention`; a query that may attend to
    no key gets zeros from attention. All widths are learned from the first call; ``embed_dim`` (and ``key_dim``,
    ``value_dim`` where they differ) make the parameters at once. ``head_dim`` is ``embed_dim / num_heads`` unless given.

    ``num_kv_heads`` below ``num_heads`` lets groups of query heads share keys and values (GQA, arXiv:2305.13245), 1 all
    of them (MQA, arXiv:1911.02150). ``window`` hides keys that are ``window`` or more tokens away (sliding window,
    arXiv:2004.05150). ``position`` is a scheme of one's own, such as ``"rotary_embedding"``; in a stack the stack's is
    used. ``qk_norm`` normalises queries and keys, head by head, before that (arXiv:2010.04245, arXiv:2302.05442).
    ``dropout`` drops attention weights in training. Long sequences are computed tile by tile, without the matrix
    of scores in memory (arXiv:2205.14135). With ``show_weights`` the weights (batch, heads, queries, keys) are computed
    in a module of their own, ``weights``, where forward hooks and regularizers such as ``AttentionEntropy`` find them.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.2.2; parameters are named and laid
    out as those of ``torch.nn.MultiheadAttention`` (see :class:`ProjectedAttention`), with its start: Xavier uniform.

    Raises:
        HyperparameterError: a width that ``num_heads`` does not divide.
        ShapeError: inputs or masks of other shapes.
        DTypeError: integer inputs, or masks of integers.
    """

    num_kv_heads: int | None = field(
        default=None, validator=positive, kw_only=True, doc="heads of keys and values; None is num_heads"
    )
    head_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of a head; None is embed_dim / num_heads"
    )
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout of attention weights"
    )
    window: int | None = field(
        default=None, validator=positive, kw_only=True, doc="keys further away than window - 1 are not seen"
    )
    scale: float | None = field(default=None, kw_only=True, doc="factor on the scores; None is 1 / sqrt(head width)")
    position: Any = field(
        default=None, converter=part("layer"), kw_only=True, doc="position scheme of this layer, or its registry name"
    )
    qk_norm: Any = field(
        default=None,
        converter=part("layer"),
        kw_only=True,
        doc="normalisation of each head's queries and keys, or its name",
    )
    show_weights: bool = field(
        default=False,
        kw_only=True,
        doc="let attention weights pass through the module ``weights``, where hooks hear them",
    )

    def __attrs_post_init__(self) -> None:
        if self.num_kv_heads is not None and self.num_heads % self.num_kv_heads:
            raise hyperparameter_error(
                self, "num_kv_heads", self.num_kv_heads, f"a divisor of num_heads, {self.num_heads}"
            )
        self.scheme = None if self.position is None else make_part("layer", self.position)
        self.q_norm, self.k_norm = (None if self.qk_norm is None else make_part("layer", self.qk_norm) for _ in "qk")
        self.weights = AttentionWeights() if self.show_weights else None
        super().__attrs_post_init__()

    def _sizes(self, width: int) -> tuple[int, int, int]:
        heads = self.num_heads
        size = super()._sizes(width)[2] if self.head_dim is None else self.head_dim
        return heads, self.num_kv_heads or heads, size

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
        self._check(query, key, value)
        itself = key is None
        position = (position or self.scheme) if itself else None
        offset = cache.length if itself and cache is not None else 0
        if cache is not None and not itself and cache.length:  # the memory's keys and values are known
            q = self._queries(query)
            k, v = cache.stored("key", "value")
            if self.q_norm is not None:
                q = self.q_norm(q)
        else:
            q, k, v = self._project(query, key, value)
            if self.q_norm is not None:
                q, k = self.q_norm(q), self.k_norm(k)
            if position is not None:
                q, k = position.rotated(q, k, offset)
            if cache is not None:
                k, v = cached(cache, k, v, itself)
        y = attend(
            name, q, k, v, attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal, window=self.window,
            offset=offset, bias=None if position is None else position.bias(q, k, offset),
            dropout=self.dropout if self.training else 0.0, scale=self.scale, enable_gqa=k.shape[1] != q.shape[1],
            weights=self.weights,
        )  # fmt: skip
        return self.out_proj(join_heads(y))
