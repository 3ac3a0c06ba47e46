"""Stacks of Transformer blocks, and the encoder-decoder."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, hyperparameter_error, non_negative, positive
from lunar_core.errors import ShapeError
from lunar_layers.attention import KeyValueCache
from lunar_layers.checks import require_sequences
from lunar_layers.parts import part
from lunar_layers.transformer_layers import (
    TransformerDecoderLayer,
    TransformerEncoderLayer,
    TransformerOptions,
    in_attention,
)


class TransformerStack(TransformerOptions):
    """Base of stacks: ``num_layers`` blocks, or one block ``num_layers`` times, a position scheme and a last norm."""

    num_layers: int = field(default=6, validator=positive, doc="blocks")
    shared: bool = field(default=False, kw_only=True, doc="one block whose weights are used in every place")
    final_norm: bool = field(default=True, kw_only=True, doc="normalise the result of the last block")

    def _set_up(self, block: Any, *, causal: bool) -> None:
        first = block()
        self.layers = [first if self.shared or not i else block() for i in range(self.num_layers)]
        self.last_norm = self.make_norm() if self.final_norm else None
        self.scheme = self.make_position(causal=causal)

    def _run(self, x: Any, cache: KeyValueCache | None, *memory: Any, **masks: Any) -> Any:
        require_sequences(type(self).__name__, x)
        count = x.shape[1]
        if self.scheme is not None:
            x = self.scheme.embedded(x, 0 if cache is None else cache.length)
        position = in_attention(self.scheme)
        for i, layer in enumerate(self.layers):
            x = layer(x, *memory, cache=None if cache is None else cache.at(i), position=position, **masks)
        if cache is not None:
            cache.length += count
        return x if self.last_norm is None else self.last_norm(x)


class TransformerEncoder(TransformerStack):
    """``num_layers`` blocks of :class:`~lunar_layers.transformer_layers.TransformerEncoderLayer` and a last norm.

    Shapes: x (batch, time, embed_dim) -> the same. ``attn_mask``, ``key_mask``, ``is_causal`` and ``cache`` are those of
    :class:`~lunar_layers.attention.Attention`; one cache serves the whole stack. Each part is swappable by registry
    name, instance or configuration (:class:`~lunar_layers.transformer_layers.TransformerOptions`).

    ``position``: a scheme that acts on embeddings is applied once at the entrance, one that acts inside of attention by
    every block, with the same parameters. ``shared`` uses one block ``num_layers`` times (arXiv:1909.11942).
    ``final_norm`` is what pre-norm blocks need at their end and what ``torch.nn.Transformer`` adds in any case; BERT has
    none.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762; ``torch.nn.TransformerEncoder``.
    """

    def setup(self) -> None:
        self._set_up(lambda: TransformerEncoderLayer(**self.options()), causal=False)

    def forward(
        self,
        x: Any,
        *,
        attn_mask: Any = None,
        key_mask: Any = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        return self._run(x, cache, attn_mask=attn_mask, key_mask=key_mask, is_causal=is_causal)


class TransformerDecoder(TransformerStack):
    """``num_layers`` blocks of :class:`~lunar_layers.transformer_layers.TransformerDecoderLayer` and a last norm.

    Shapes: x (batch, time, embed_dim), memory (batch, memory time, memory width) -> the shape of x. Causal unless
    ``is_causal=False``. ``cross_attention=None`` makes the stack of a decoder-only model, without memory. Masks and
    parts are those of the block, positions and sharing as in :class:`TransformerEncoder`.

    Decoding step by step gives what one call for all tokens gives::

        cache = KeyValueCache()
        for token in ...:
            y = decoder(embed(token), memory, cache=cache)  # the new tokens only

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762; ``torch.nn.TransformerDecoder``.
    """

    cross_attention: Any = field(
        default="multi_head_attention",
        converter=part("layer"),
        kw_only=True,
        doc="attention to the memory; None has none",
    )

    def setup(self) -> None:
        self._set_up(
            lambda: TransformerDecoderLayer(cross_attention=self.cross_attention, **self.options()), causal=True
        )

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
    ) -> Any:
        return self._run(
            x, cache, *(() if memory is None else (memory,)), attn_mask=attn_mask, key_mask=key_mask,
            memory_mask=memory_mask, memory_key_mask=memory_key_mask, is_causal=is_causal,
        )  # fmt: skip


class Transformer(TransformerOptions):
    """Encoder and decoder, or one of them.

    Shapes: src (batch, source time, embed_dim), tgt (batch, target time, embed_dim) -> (batch, target time, embed_dim).
    With ``num_decoder_layers=0`` it is an encoder, with ``num_encoder_layers=0`` a decoder-only model; both take one
    sequence. Tokens are embedded before and classified after it; ``position`` may say where they stand.

    ``src_mask``, ``tgt_mask`` and ``memory_mask`` say which query may attend to which key, ``src_key_mask`` and
    ``tgt_key_mask`` (True where there is a token) hide padding; the decoder sees of the source what the encoder sees,
    unless ``memory_key_mask`` says otherwise. The decoder is causal unless ``is_causal=False``. Parts are swapped as in
    :class:`TransformerEncoder`, for encoder and decoder alike; ``cross_attention`` is the decoder's attention to the
    source.

    To decode step by step, ``memory = model.encode(src)``, then ``model.decode(tgt, memory, cache=cache)`` with the new
    tokens only and one :class:`~lunar_layers.attention.KeyValueCache`.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762; computes what ``torch.nn.Transformer`` does.

    Raises:
        ShapeError: inputs that are not (batch, time, embed_dim); a target that is missing or too much.
        HyperparameterError: a width that ``num_heads`` does not divide.
    """

    num_encoder_layers: int = field(default=6, validator=non_negative, doc="blocks of the encoder; 0 has none")
    num_decoder_layers: int = field(default=6, validator=non_negative, doc="blocks of the decoder; 0 has none")
    cross_attention: Any = field(
        default="multi_head_attention",
        converter=part("layer"),
        kw_only=True,
        doc="the decoder's attention to the source",
    )
    shared: bool = field(default=False, kw_only=True, doc="one block of each, whose weights are used in every place")
    final_norm: bool = field(default=True, kw_only=True, doc="normalise the results of encoder and decoder")

    def setup(self) -> None:
        if not self.num_encoder_layers + self.num_decoder_layers:
            raise hyperparameter_error(self, "num_encoder_layers", 0, "above 0 where there is no decoder")
        options = {**self.options(), "position": self.position, "shared": self.shared, "final_norm": self.final_norm}
        self.encoder = TransformerEncoder(self.num_encoder_layers, **options) if self.num_encoder_layers else None
        cross = self.cross_attention if self.encoder is not None else None
        self.decoder = (
            TransformerDecoder(self.num_decoder_layers, cross_attention=cross, **options)
            if self.num_decoder_layers
            else None
        )

    def inputs(self) -> int:
        return 1 if self.encoder is None or self.decoder is None else 2

    def forward(
        self,
        src: Any,
        tgt: Any = None,
        *,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_mask: Any = None,
        tgt_key_mask: Any = None,
        memory_key_mask: Any = None,
        is_causal: bool = True,
    ) -> Any:
        if (tgt is None) != (self.inputs() == 1):
            raise ShapeError(
                f"Transformer with {'encoder and decoder' if tgt is None else 'one stack'} takes {self.inputs()} sequences",
                hint="model(src, tgt)" if tgt is None else "model(x)",
            )
        if self.encoder is None:
            given = {"src_mask": src_mask, "src_key_mask": src_key_mask}
            if any(mask is not None for mask in given.values()):
                raise ShapeError(
                    "Transformer without an encoder takes no src_mask", hint="its masks are tgt_mask, tgt_key_mask"
                )
            return self.decode(src, None, tgt_mask=tgt_mask, tgt_key_mask=tgt_key_mask, is_causal=is_causal)
        memory = self.encode(src, src_mask=src_mask, src_key_mask=src_key_mask)
        if self.decoder is None:
            return memory
        return self.decode(
            tgt, memory, tgt_mask=tgt_mask, tgt_key_mask=tgt_key_mask, memory_mask=memory_mask, is_causal=is_causal,
            memory_key_mask=src_key_mask if memory_key_mask is None else memory_key_mask,
        )  # fmt: skip

    def encode(self, src: Any, *, src_mask: Any = None, src_key_mask: Any = None) -> Any:
        """The memory of ``src`` (batch, source time, embed_dim)."""
        return self.encoder(src, attn_mask=src_mask, key_mask=src_key_mask)

    def decode(
        self,
        tgt: Any,
        memory: Any = None,
        *,
        tgt_mask: Any = None,
        tgt_key_mask: Any = None,
        memory_mask: Any = None,
        memory_key_mask: Any = None,
        is_causal: bool = True,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """The result for ``tgt``, which with a ``cache`` are the tokens after those in it."""
        return self.decoder(
            tgt, memory, attn_mask=tgt_mask, key_mask=tgt_key_mask, memory_mask=memory_mask,
            memory_key_mask=memory_key_mask, is_causal=is_causal, cache=cache,
        )  # fmt: skip
