"""Dropout."""

from __future__ import annotations

from typing import Any

from lunar_core import ops, random
from lunar_core.component import field, in_range
from lunar_core.contracts.layer import Layer
from lunar_layers.checks import require_floating


class Dropout(Layer):
    """In training, elements become 0 with probability ``p`` and the others are divided by ``1 - p``.

    In evaluation the input is returned as it is.

    The n-th mask after :func:`lunar_core.seed` depends on the seed, the input's shape and n alone (stream "dropout").
    ``p=0`` draws none, ``p=1`` gives zeros; in between ``p`` counts in steps of 1/65536.

    Source: N. Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014; the
    scaling at training time, "inverted dropout", is what all frameworks do.
    """

    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability that an element is dropped")

    def forward(self, x: Any) -> Any:
        require_floating("Dropout", x)
        if not self.training or self.p == 0:
            return x
        return ops.dropout(x, self.p, random.stream("dropout").next())
