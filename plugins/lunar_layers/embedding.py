"""Embedding: a learned row for each index."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, non_negative, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.initializers import Normal, as_initializer


class Embedding(Layer):
    """Rows of a learned table: ``y = weight[x]``.

    Shapes: x (...) of integers in ``0..num_embeddings - 1`` -> y (..., embedding_dim); ``weight`` (num_embeddings,
    embedding_dim), which starts as the standard normal, as in PyTorch.

    The row ``padding_idx`` starts at zero and gets no gradient, so it stays what it is.

    Raises:
        DTypeError: indices that are no integers.
        IndexingError: an index outside of the table.
    """

    num_embeddings: int = field(validator=positive, doc="number of rows")
    embedding_dim: int = field(validator=positive, doc="size of a row")
    padding_idx: int | None = field(default=None, validator=non_negative, kw_only=True, doc="row that is not learned")
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

    def build(self, x: Any) -> None:
        weight = self.weight_init((self.num_embeddings, self.embedding_dim))
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight = Parameter(weight)  # (num_embeddings, embedding_dim)

    def forward(self, x: Any) -> Any:
        y = ops.embedding(x, self.weight)
        if self.padding_idx is None:
            return y
        return ops.where(ops.expand_dims(ops.equal(x, self.padding_idx), -1), y.detach(), y)
