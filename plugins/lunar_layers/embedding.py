"""Embedding: a learned row for each index; EmbeddingBag: several rows put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.autograd import note_write
from lunar_core.component import field, hyperparameter_error, non_negative, one_of, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_core.ops.indexing import check_integers
from lunar_core.tensor import Tensor
from lunar_layers.initializers import Normal, as_initializer


class Table(Layer):
    """Base of layers that look up rows of ``weight`` (num_embeddings, embedding_dim)."""

    num_embeddings: int = field(validator=positive, doc="number of rows")
    embedding_dim: int = field(validator=positive, doc="size of a row")
    padding_idx: int | None = field(default=None, validator=non_negative, kw_only=True, doc="row that is not learned")
    max_norm: float | None = field(
        default=None, validator=positive, kw_only=True, doc="rows that are looked up are shortened to this norm"
    )
    norm_type: float = field(default=2.0, validator=positive, kw_only=True, doc="p of the norm that max_norm bounds")
    weight_init: Initializer = field(
        factory=Normal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )

    def __attrs_post_init__(self) -> None:
        if self.padding_idx is not None and self.padding_idx >= self.num_embeddings:
            expected = f"below num_embeddings, {self.num_embeddings}"
            raise hyperparameter_error(self, "padding_idx", self.padding_idx, expected)
        super().__attrs_post_init__()

    def input_spec(self) -> Spec:
        return Spec((1,), np.dtype(np.int64))

    def build(self, x: Any, *_: Any) -> None:
        weight = self.weight_init((self.num_embeddings, self.embedding_dim))
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight = Parameter(weight)  # (num_embeddings, embedding_dim)

    def _shorten(self, indices: Any) -> None:
        """Scale the rows that are about to be looked up, in place, so that no norm is above ``max_norm``."""
        if self.max_norm is None:
            return
        check_integers(indices, type(self).__name__)
        table = self.weight.data
        xp = backend.of(table).xp
        used = xp.unique(indices.data if isinstance(indices, Tensor) else indices)
        if not used.size or int(used[0]) < 0 or int(used[-1]) >= self.num_embeddings:
            return  # the lookup says what is wrong
        rows = table[used]
        norms = (abs(rows) ** self.norm_type).sum(axis=1) ** (1 / self.norm_type)
        long = norms > self.max_norm
        if long.any():
            table[used[long]] = rows[long] * (self.max_norm / (norms[long] + 1e-7))[:, None]
            note_write(table)


class Embedding(Table):
    """Rows of a learned table: ``y = weight[x]``.

    Shapes: x (...) of integers in ``0..num_embeddings - 1`` -> y (..., embedding_dim); ``weight`` (num_embeddings,
    embedding_dim), which starts as the standard normal, as in PyTorch.

    The row ``padding_idx`` starts at zero and gets no gradient, so it stays what it is. With ``max_norm``, rows that are
    looked up and whose ``norm_type`` norm is larger are scaled down to it first, in place and outside of the gradient, as
    in PyTorch.

    Raises:
        DTypeError: indices that are no integers.
        IndexingError: an index outside of the table.
    """

    def forward(self, x: Any) -> Any:
        self._shorten(x)
        y = ops.embedding(x, self.weight)
        if self.padding_idx is None:
            return y
        return ops.where(ops.expand_dims(ops.equal(x, self.padding_idx), -1), y.detach(), y)


class EmbeddingBag(Table):
    """Sum, mean or maximum of the rows that each bag of indices picks from a learned table.

    Shapes: x (bags, indices) of integers -> y (bags, embedding_dim); or x (indices,) with ``offsets`` (bags,), where
    each bag begins (with ``include_last_offset`` (bags + 1,), the last one being the end). ``mode`` is ``"mean"``,
    ``"sum"`` or ``"max"``. ``per_sample_weights``, of the shape of x, multiply the rows, for ``"sum"`` only. Indices
    equal to ``padding_idx`` are left out; an empty bag gives zeros. ``max_norm`` is that of :class:`Embedding`, and so
    are ``weight`` and its start; options and results are those of ``torch.nn.EmbeddingBag``.

    Source: A. Joulin et al., Bag of Tricks for Efficient Text Classification, arXiv:1607.01759; ``torch.nn.EmbeddingBag``.

    Raises:
        DTypeError: indices that are no integers.
        IndexingError: an index outside of the table.
        ShapeError: offsets or weights that do not fit.
        HyperparameterError: weights where ``mode`` is not ``"sum"``.
    """

    mode: str = field(default="mean", validator=one_of("mean", "sum", "max"), kw_only=True, doc="how rows are joined")
    include_last_offset: bool = field(default=False, kw_only=True, doc="offsets end with the number of indices")

    def forward(self, x: Any, offsets: Any = None, *, per_sample_weights: Any = None) -> Any:
        self._shorten(x)
        return ops.embedding_bag(
            x, self.weight, offsets, mode=self.mode, per_sample_weights=per_sample_weights,
            padding_idx=self.padding_idx, include_last_offset=self.include_last_offset,
        )  # fmt: skip
