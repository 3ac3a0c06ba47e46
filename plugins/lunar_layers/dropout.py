"""Dropout."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.contracts.layer import Layer


class Dropout(Layer):
    """In training, each element is set to 0 with probability ``p`` and the others are divided by ``1 - p``; in evaluation
    the input is returned as it is.

    The n-th mask after :func:`lunar_core.seed` depends on the seed and on n alone (stream "dropout"). ``p=1`` gives
    zeros.

    Source: N. Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014; the
    scaling at training time ("inverted dropout") is what all frameworks do.
    """

    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability that an element is dropped")
