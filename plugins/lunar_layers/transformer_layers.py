"""Blocks of Transformers: attention and feed-forward with norms and residual paths, every part swappable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core.component import field, in_range, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.modes import modes
from lunar_core.module import Module
from lunar_core.op import Spec
from lunar_layers.attention import KeyValueCache
from lunar_layers.building import run_once
from lunar_layers.checks import require_sequences
from lunar_layers.dropout import Dropout
from lunar_layers.parts import make_part, part


class TransformerOptions(Layer):
    """What the layers of this family share: the parts and how they are joined.

    Each part is a registry name, an instance of which copies are used, or a configuration. A part by name gets the
    options that it has fields for: attention ``num_heads``, ``dropout`` and ``use_bias``, the feed-forward part
    ``hidden_features``, ``activation``, ``dropout`` and ``use_bias``, norms ``eps``. Norms that count features on axis 1
    (their ``channel_axis``), such as batch, group or instance norm, see (batch, features, time); what they measure over
    time includes tokens that come later.
    """

    num_heads: int = field(default=8, validator=positive, kw_only=True, doc="heads of attention")
    hidden_features: int | None = field(
        default=None,
        validator=positive,
        kw_only=True,
        doc="width of the feed-forward part; None follows from the input's",
    )
    dropout: float = field(
        default=0.1, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout of each part's result"
    )
    activation: Any = field(
        default="relu", converter=part("activation"), kw_only=True, doc="activation of the feed-forward part"
    )
    attention: Any = field(
        default="multi_head_attention", converter=part("layer"), kw_only=True, doc="attention of a sequence to itself"
    )
    norm: Any = field(default="layer_norm", converter=part("layer"), kw_only=True, doc="normalisation")
    feed_forward: Any = field(
        default="feed_forward", converter=part("layer"), kw_only=True, doc="what maps each token by itself"
    )
    position: Any = field(
        default=None, converter=part("layer"), kw_only=True, doc="position scheme; None leaves places unknown"
    )
    norm_first: bool = field(
        default=False, kw_only=True, doc="normalise before each part (pre-norm), not after the sum"
    )
    norm_eps: float | None = field(
        default=None, validator=positive, kw_only=True, doc="eps of norms that are given by name; None is their own"
    )
    residual_scale: float = field(default=1.0, kw_only=True, doc="factor on what a part adds to the residual path")
    use_bias: bool = field(default=True, kw_only=True, doc="learned offsets in attention and feed-forward")
    embed_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of a token; None learns it from the first call"
    )

    def __attrs_post_init__(self) -> None:
        self.setup()
        super().__attrs_post_init__()  # there is a build, so the first call is awaited
        if self.embed_dim is not None:
            run_once([self], self, *[Spec((1, 1, self.embed_dim), modes.dtype)] * self.inputs())

    def setup(self) -> None:
        """Make the parts."""

    def build(self, x: Any, *memory: Any) -> None:
        """Note the width of tokens, so that the configuration gives back a layer whose parameters exist."""
        require_sequences(type(self).__name__, x, self.embed_dim)
        if all(m is None or m.shape[-1] == x.shape[-1] for m in memory):
            self.embed_dim = x.shape[-1]

    def inputs(self) -> int:
        """How many sequences ``forward`` takes."""
        return 1

    def options(self) -> dict[str, Any]:
        """The shared fields, for a layer of this family inside of this one, which is built when it is first called."""
        names = TransformerOptions.config_names()
        return {name: getattr(self, name) for name in names if name not in ("position", "embed_dim")}

    def make_attention(self, value: Any) -> Any:
        return make_part("layer", value, num_heads=self.num_heads, dropout=self.dropout, use_bias=self.use_bias)

    def make_norm(self) -> Any:
        norm = make_part("layer", self.norm, **({} if self.norm_eps is None else {"eps": self.norm_eps}))
        return FeaturesFirst(norm) if getattr(norm, "channel_axis", -1) == 1 else norm

    def make_feed_forward(self) -> Any:
        return make_part(
            "layer", self.feed_forward, hidden_features=self.hidden_features, activation=self.activation,
            dropout=self.dropout, use_bias=self.use_bias,
        )  # fmt: skip

    def make_position(self, *, causal: bool) -> Any:
        if self.position is None:
            return None
        scheme = make_part("layer", self.position, bidirectional=not causal)
        if not hasattr(scheme, "acts_on"):
            raise HyperparameterError(
                f"{type(self).__name__}: position must be a position scheme, got {scheme!r}",
                hint='such as "positional_encoding", "rotary_embedding", "alibi" or "t5_relative_position_bias"',
            )
        return scheme

    def _residual(self, x: Any, norm: Any, part: Callable[[Any], Any], drop: Any) -> Any:
        """``x + s part(norm(x))``, or ``norm(x + s part(x))``."""
        y = part(norm(x) if self.norm_first else x)
        if drop is not None:
            y = drop(y)
        if self.residual_scale != 1:
            y = y * self.residual_scale
        y = x + y
        return y if self.norm_first else norm(y)

    def _make_drop(self) -> Dropout | None:
        return Dropout(self.dropout) if self.dropout else None


class FeaturesFirst(Module):
    """A norm that counts features on axis 1, over (batch, time, features)."""

    def __init__(self, norm: Module) -> None:
        self.norm = norm

    def forward(self, x: Any) -> Any:
        return self.norm(x.swapaxes(1, 2)).swapaxes(1, 2)


class TransformerEncoderLayer(TransformerOptions):
    """Self-attention and a feed-forward part, each with a residual path and a norm.

    ``x = norm1(x + drop(self_attn(x)))``, ``x = norm2(x + drop(feed_forward(x)))``; with ``norm_first`` it is ``x = x +
    drop(self_attn(norm1(x)))`` and so on. ``residual_scale`` multiplies what is added.

    Shapes: x (batch, time, embed_dim) -> the same. ``attn_mask``, ``key_mask`` (True where there is a token),
    ``is_causal`` and ``cache`` are those of :class:`~lunar_layers.attention.Attention`; with ``is_causal`` it is the
    block of a decoder-only model. ``position`` of the call, a scheme that a stack shares, goes before the layer's own.
    The width is learned from the first call.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.1; pre-norm R. Xiong et al.,
    arXiv:2002.04745. Computes what ``torch.nn.TransformerEncoderLayer`` does; defaults are its, but for
    ``hidden_features`` (4 times the width, there 2048).

    Raises:
        ShapeError: inputs that are not (batch, time, embed_dim).
        HyperparameterError: a width that ``num_heads`` does not divide.
        UnknownNameError: a part of a name that no plugin provides.
    """

    def setup(self) -> None:
        self.self_attn = self.make_attention(self.attention)
        self.mlp = self.make_feed_forward()
        self.norm1, self.norm2 = self.make_norm(), self.make_norm()
        self.drop1, self.drop2 = self._make_drop(), self._make_drop()
        self.scheme = self.make_position(causal=False)

    def forward(
        self,
        x: Any,
        *,
        attn_mask: Any = None,
        key_mask: Any = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
        position: Any = None,
    ) -> Any:
        require_sequences(type(self).__name__, x)
        own = self.scheme if position is None else position
        if own is not None and position is None:
            x = own.embedded(x, 0 if cache is None else cache.length)

        def attend(x: Any) -> Any:
            return self.self_attn(
                x, attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal, cache=cache, position=in_attention(own)
            )

        x = self._residual(x, self.norm1, attend, self.drop1)
        return self._residual(x, self.norm2, self.mlp, self.drop2)


class TransformerDecoderLayer(TransformerOptions):
    """Causal self-attention, attention to another sequence, and a feed-forward part, each with residual path and norm.

    Shapes: x (batch, time, embed_dim), memory (batch, memory time, memory width) -> the shape of x. With
    ``cross_attention=None`` there is no memory, and this is the block of a decoder-only model. ``is_causal`` is True
    unless the call says otherwise; ``attn_mask`` and ``key_mask`` are those of x, ``memory_mask`` and
    ``memory_key_mask`` those of the memory, all as in :class:`~lunar_layers.attention.Attention`. With a ``cache`` x is
    what comes after the tokens so far, and the memory is projected once. The rest is as in
    :class:`TransformerEncoderLayer`.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.1. Computes what
    ``torch.nn.TransformerDecoderLayer`` does (where masks are given it needs ``tgt_is_causal`` too).

    Raises:
        ShapeError: inputs that are not (batch, time, embed_dim); no memory where there is cross-attention.
        HyperparameterError: a width that ``num_heads`` does not divide.
        UnknownNameError: a part of a name that no plugin provides.
    """

    cross_attention: Any = field(
        default="multi_head_attention",
        converter=part("layer"),
        kw_only=True,
        doc="attention to the memory; None has none",
    )

    def setup(self) -> None:
        self.self_attn = self.make_attention(self.attention)
        self.norm1, self.drop1 = self.make_norm(), self._make_drop()
        self.cross_attn = None
        if self.cross_attention is not None:
            self.cross_attn = self.make_attention(self.cross_attention)
            self.norm2, self.drop2 = self.make_norm(), self._make_drop()
        self.mlp = self.make_feed_forward()
        self.norm3, self.drop3 = self.make_norm(), self._make_drop()
        self.scheme = self.make_position(causal=True)

    def inputs(self) -> int:
        return 1 if self.cross_attention is None else 2

    def forward(
        self,
        x: Any,
        memory: Any = None,
        *,
        attn_mask: Any = None,
        key_mask: Any = None,
        memory_mask: Any = None,
        memory_key_mask: Any = None,
        is_causal: bool = True,
        cache: KeyValueCache | None = None,
        position: Any = None,
    ) -> Any:
        name = type(self).__name__
        require_sequences(name, x)
        if (memory is None) != (self.cross_attn is None):
            raise ShapeError(
                f"{name} {'has no cross-attention, but a memory was given' if memory is not None else 'needs a memory'}",
                hint="layer(x, memory), or cross_attention=None for a decoder-only model",
            )
        own = self.scheme if position is None else position
        cache_self = cache_cross = None
        if cache is not None:
            cache_self, cache_cross = cache.at("self"), cache.at("cross")
        if own is not None and position is None:
            x = own.embedded(x, 0 if cache_self is None else cache_self.length)

        def attend(x: Any) -> Any:
            return self.self_attn(
                x, attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal, cache=cache_self,
                position=in_attention(own),
            )  # fmt: skip

        def look(x: Any) -> Any:
            return self.cross_attn(
                x, memory, memory, attn_mask=memory_mask, key_mask=memory_key_mask, cache=cache_cross
            )

        x = self._residual(x, self.norm1, attend, self.drop1)
        if self.cross_attn is not None:
            x = self._residual(x, self.norm2, look, self.drop2)
        return self._residual(x, self.norm3, self.mlp, self.drop3)


def in_attention(scheme: Any) -> Any:
    """The scheme if it works inside of attention; one that acts on embeddings has done its work."""
    return None if scheme is None or scheme.acts_on == "embeddings" else scheme
