"""Sigmoid and hyperbolic tangent."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.contracts.activation import Activation


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``, between 0 and 1, without overflow for large negative ``x``."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Tanh(Activation):
    """``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``, between -1 and 1."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)
