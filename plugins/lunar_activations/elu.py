"""Exponential linear unit."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation


class ELU(Activation):
    """``x`` where ``x > 0``, else ``alpha * (exp(x) - 1)``, which levels off at ``-alpha``.

    Source: D.-A. Clevert, T. Unterthiner and S. Hochreiter, Fast and Accurate Deep Network Learning by Exponential
    Linear Units, ICLR 2016, equation 15.
    """

    alpha: float = field(default=1.0, validator=positive, doc="minus the limit for large negative inputs")

    def forward(self, x: Any) -> Any:
        return ops.elu(x, alpha=self.alpha)
