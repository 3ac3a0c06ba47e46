"""Schemes that tell a Transformer where its tokens stand."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import ops
from lunar_core.component import Check, field, hyperparameter_error, in_range, one_of, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_core.tensor import Tensor
from lunar_layers.attention import beside
from lunar_layers.checks import require_floating, require_sequences
from lunar_layers.dropout import Dropout
from lunar_layers.initializers import Normal, as_initializer

even = Check(lambda v: v % 2 == 0 and v > 0, "an even number > 0")


class PositionScheme(Layer):
    """Base of position schemes. ``acts_on`` says where a scheme works, and so what its ``forward`` is:

    - ``"embeddings"``: ``forward(x, offset)`` gives the inputs x (batch, time, width) of a stack with positions added;
    - ``"queries_and_keys"``: ``forward(x, offset)`` gives the queries or keys x (..., time, head width) of an attention
      layer, rotated or moved;
    - ``"scores"``: ``forward(query, key, offset)`` gives what is added to the scores, broadcasting to (batch, heads,
      queries, keys), for query (batch, heads, queries, width) and key (batch, heads, keys, width).

    ``offset`` is the place of the first token, or query; keys begin at 0, except in ``"queries_and_keys"``, where new
    queries and new keys begin at the same place. A stack hands one scheme to all of its layers.
    """

    acts_on: ClassVar[str] = "embeddings"

    def embedded(self, x: Any, offset: int = 0) -> Any:
        """``x`` with positions, if this scheme acts on embeddings."""
        return self(x, offset) if self.acts_on == "embeddings" else x

    def rotated(self, query: Any, key: Any, offset: int = 0) -> tuple[Any, Any]:
        """Queries and keys with positions, if this scheme acts on them."""
        if self.acts_on != "queries_and_keys":
            return query, key
        turned = self(query, offset)
        return turned, turned if key is query else self(key, offset)

    def bias(self, query: Any, key: Any, offset: int = 0) -> Any:
        """What is added to the scores, or ``None`` if this scheme does not act on them."""
        return self(query, key, offset) if self.acts_on == "scores" else None


class PositionalEncoding(PositionScheme):
    """Adds a vector to each token that depends on its place.

    Shapes: x (batch, time, features) -> the same; ``offset`` is the place of the first token. With ``mode``

    - ``"sinusoidal"``: ``pe[t, 2i] = sin(t / 10000^(2i / features))`` and ``pe[t, 2i + 1] = cos`` of the same, for
      sequences of any length; nothing is learned;
    - ``"learned"``: row t of ``weight`` (max_length, features), which starts normal with standard deviation 0.02 as in
      BERT and GPT-2.

    ``dropout`` applies to the sum, as in the paper. Embeddings are not scaled by the square root of their width here.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.5 and 5.4.

    Raises:
        ShapeError: inputs that are not (batch, time, features), or reach beyond ``max_length`` where it is learned.
    """

    mode: str = field(default="sinusoidal", validator=one_of("sinusoidal", "learned"), doc="sinusoidal or learned")
    max_length: int = field(default=1024, validator=positive, kw_only=True, doc="places that are learned")
    features: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of a token; None learns it from the first call"
    )
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout of the sum"
    )
    weight_init: Initializer = field(
        factory=lambda: Normal(std=0.02), converter=as_initializer, kw_only=True, doc="initializer of weight"
    )

    def __attrs_post_init__(self) -> None:
        self.drop = Dropout(self.dropout) if self.dropout else None
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.features is None else Spec((1, 1, self.features), modes.dtype)

    def build(self, x: Any, offset: int = 0) -> None:
        require_sequences("PositionalEncoding", x, self.features)
        self.features = x.shape[-1]
        if self.mode == "learned":
            self.weight = Parameter(self.weight_init((self.max_length, self.features)))  # (max_length, features)

    def forward(self, x: Any, offset: int = 0) -> Any:
        require_sequences("PositionalEncoding", x, self.features)
        end = offset + x.shape[1]
        if self.mode == "learned":
            if end > self.max_length:
                raise ShapeError(
                    f"PositionalEncoding has learned {self.max_length} places, got tokens up to place {end}",
                    hint=f"PositionalEncoding('learned', max_length={end}), or mode='sinusoidal'",
                )
            y = x + self.weight[offset:end]
        else:
            y = x + beside(x, sinusoids(np.arange(offset, end), x.shape[-1], x.dtype))
        return y if self.drop is None else self.drop(y)


def sinusoids(places: np.ndarray, width: int, dtype: Any, base: float = 10000.0) -> np.ndarray:
    """Rows of sines and cosines alternating, (places, width), computed in float64."""
    angles = places[:, None] * base ** (-np.arange(0, width, 2) / width)
    table = np.empty((len(places), width))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : width // 2])
    return table.astype(dtype)


class RotaryEmbedding(PositionScheme):
    """Rotates pairs of features of queries and keys by angles that grow with the place (RoPE).

    Shapes: x (..., time, width) -> the same. Pair i of token t turns by ``t * base^(-2i / dim)``; the scores of a query
    and a key then depend on how far apart they stand.

    ``interleaved`` pairs features 2i and 2i + 1 as the paper does; without it feature i is paired with i + dim / 2, as
    in the weights of LLaMA and GPT-NeoX. ``dim`` features of each head are turned, all unless given; ``scaling`` divides
    the places (position interpolation, arXiv:2306.15595).

    Source: J. Su et al., RoFormer, arXiv:2104.09864, equation 34.

    Raises:
        ShapeError: an odd width, or one below ``dim``.
    """

    acts_on: ClassVar[str] = "queries_and_keys"

    dim: int | None = field(default=None, validator=even, doc="features that are turned; None is all of a head's")
    base: float = field(default=10000.0, validator=positive, doc="longest wavelength / 2 pi")
    interleaved: bool = field(default=True, kw_only=True, doc="pair neighbours, as the paper; else halves, as LLaMA")
    scaling: float = field(default=1.0, validator=positive, kw_only=True, doc="what places are divided by")

    def forward(self, x: Any, offset: int = 0) -> Any:
        require_floating("RotaryEmbedding", x)
        width = x.shape[-1] if x.ndim >= 2 else 0
        dim = width if self.dim is None else self.dim
        if not 0 < dim <= width or dim % 2:
            raise ShapeError(
                f"RotaryEmbedding turns pairs of {'all' if self.dim is None else dim} features of x (..., time, width), "
                f"got {tuple(x.shape)}",
                hint="choose embed_dim and num_heads so that the width of a head is even",
            )
        table = turns(offset, x.shape[-2], dim, self.base, self.scaling, x.dtype)
        cos, sin = (beside(x, values) for values in table)
        rest = None
        if dim < width:
            x, rest = ops.split(x, [dim], axis=-1)
        if self.interleaved:
            pairs = x.reshape((*x.shape[:-1], dim // 2, 2))
            a, b = pairs[..., 0], pairs[..., 1]
            y = ops.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
        else:
            a, b = ops.split(x, 2, axis=-1)
            y = ops.concat([a * cos - b * sin, a * sin + b * cos], axis=-1)
        return y if rest is None else ops.concat([y, rest], axis=-1)


@functools.lru_cache(maxsize=32)  # the layers of a model ask for the same ones, for queries and for keys
def turns(offset: int, count: int, dim: int, base: float, scaling: float, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the angles of ``count`` places, (places, dim / 2) each, computed in float64."""
    angles = (np.arange(offset, offset + count) / scaling)[:, None] * base ** (-np.arange(0, dim, 2) / dim)
    table = np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)
    for values in table:
        values.flags.writeable = False
    return table


class ALiBi(PositionScheme):
    """Adds ``-slope * |distance|`` to the scores of attention, with a slope of its own for each head.

    Shapes: query (batch, heads, queries, width), key (batch, heads, keys, width) -> bias (heads, queries, keys). For n
    heads, n a power of two, the slopes are ``2^(-8 / n), 2^(-16 / n), ...``; for another n those of the next lower power
    of two, and then every second one of the next higher, as in the authors' code. Nothing is learned. Without a causal
    mask the distance counts to both sides alike.

    Source: O. Press, N. A. Smith and M. Lewis, Train Short, Test Long, arXiv:2108.12409, section 3.
    """

    acts_on: ClassVar[str] = "scores"

    def forward(self, query: Any, key: Any, offset: int = 0) -> Any:
        heads = require_heads("ALiBi", query, key)
        distance = np.arange(offset, offset + query.shape[-2])[:, None] - np.arange(key.shape[-2])
        bias = -alibi_slopes(heads)[:, None, None] * np.abs(distance)
        result = beside(query, bias.astype(query.dtype))
        return Tensor(result) if isinstance(query, Tensor) else result


def require_heads(name: str, query: Any, key: Any) -> int:
    """The number of heads of queries and keys; refuses what is not (batch, heads, time, width)."""
    if len(query.shape) != 4 or (key is not None and len(key.shape) != 4):
        shapes = tuple(query.shape) if key is None else f"{tuple(query.shape)} and {tuple(key.shape)}"
        raise ShapeError(f"{name} expects queries and keys (batch, heads, time, width), got {shapes}")
    return int(query.shape[1])


def alibi_slopes(heads: int) -> np.ndarray:
    """The slope of each head."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return np.array(slopes + [2 ** (-8 * (i + 1) / (2 * power)) for i in range(0, 2 * (heads - power), 2)])


class T5RelativePositionBias(PositionScheme):
    """Adds a learned number to the scores of attention for each head and bucket of distances.

    Shapes: query (batch, heads, queries, width), key (batch, heads, keys, width) -> bias (heads, queries, keys);
    ``weight`` (num_buckets, heads), which starts standard normal. Near distances have a bucket each, further ones share
    buckets that grow logarithmically up to ``max_distance``, beyond which all share the last. ``bidirectional`` gives
    half of the buckets to keys after the query (encoders); without it they count as distance 0 (causal decoders). In a
    stack all layers share one table, as in T5.

    Source: C. Raffel et al., Exploring the Limits of Transfer Learning with T5, arXiv:1910.10683, section 2.1; the
    buckets are those of the authors' code, ``mesh_tensorflow.transformer``.
    """

    acts_on: ClassVar[str] = "scores"

    num_buckets: int = field(default=32, validator=even, doc="rows of the table")
    max_distance: int = field(default=128, validator=positive, doc="distance from which on all share a bucket")
    bidirectional: bool = field(default=True, kw_only=True, doc="tell keys after the query from those before")
    num_heads: int | None = field(
        default=None, validator=positive, kw_only=True, doc="attention heads; None learns them from the first call"
    )
    weight_init: Initializer = field(
        factory=Normal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )

    def __attrs_post_init__(self) -> None:
        exact = self.num_buckets // (4 if self.bidirectional else 2)
        if exact < 1 or self.max_distance <= exact:
            expected = f"above {exact}, the distances that have a bucket each, for num_buckets={self.num_buckets}"
            raise hyperparameter_error(self, "max_distance", self.max_distance, expected)
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.num_heads is None else Spec((1, self.num_heads, 1, 1), modes.dtype)

    def build(self, query: Any, key: Any = None, offset: int = 0) -> None:
        self.num_heads = self._heads(query, key)
        self.weight = Parameter(self.weight_init((self.num_buckets, self.num_heads)))  # (num_buckets, heads)

    def forward(self, query: Any, key: Any, offset: int = 0) -> Any:
        self._heads(query, key)
        distance = np.arange(key.shape[-2]) - np.arange(offset, offset + query.shape[-2])[:, None]
        buckets = t5_buckets(distance, self.num_buckets, self.max_distance, self.bidirectional)
        return ops.moveaxis(ops.embedding(beside(query, buckets), self.weight), -1, 0)

    def _heads(self, query: Any, key: Any) -> int:
        heads = require_heads("T5RelativePositionBias", query, key)
        if self.num_heads not in (None, heads):
            raise ShapeError(f"T5RelativePositionBias has a table for {self.num_heads} heads, got {tuple(query.shape)}")
        return heads


def t5_buckets(distance: np.ndarray, num_buckets: int, max_distance: int, bidirectional: bool) -> np.ndarray:
    """The bucket of each ``key place - query place``."""
    if bidirectional:
        num_buckets //= 2
        first = np.where(distance > 0, num_buckets, 0)
        distance = np.abs(distance)
    else:
        first, distance = np.zeros_like(distance), np.maximum(-distance, 0)
    exact = num_buckets // 2
    # in float32 as the authors' code, whose rounding decides at the borders
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / math.log(max_distance / exact)
    far = np.minimum(exact + (ratio * (num_buckets - exact)).astype(np.int64), num_buckets - 1)
    return first + np.where(distance < exact, distance, far)
