"""The FrozenActivation activation."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation


class FrozenActivation(Activation):
    """``x * sigmoid(beta * x)``, elementwise.

    Source: Ramachandran et al. 2017, arXiv:1710.05941 (Swish), with ``beta`` fixed.
    """

    beta: float = field(default=1.0, validator=positive, doc="steepness; large values approach ReLU")

    def forward(self, x: Any) -> Any:
        return x * ops.sigmoid(self.beta * x)
