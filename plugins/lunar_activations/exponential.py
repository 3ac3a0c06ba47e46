"""Exponential units besides the ELU: SELU and CELU."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation

from . import functional


class SELU(Activation):
    """``scale * x`` where ``x > 0``, else ``scale * alpha * (exp(x) - 1)``.

    ``alpha = 1.6732632423543772`` and ``scale = 1.0507009873554805`` make mean 0 and variance 1 a fixed point of the
    layer that it follows, given weights drawn by ``LecunNormal``. The slope at 0 is ``scale * alpha``, as in PyTorch.

    Source: G. Klambauer et al., Self-Normalizing Neural Networks, arXiv:1706.02515, equation 2.
    """

    def forward(self, x: Any) -> Any:
        return functional.selu(x)


class CELU(Activation):
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``: an ELU whose slope is continuous for every ``alpha``.

    Source: J. T. Barron, Continuously Differentiable Exponential Linear Units, arXiv:1704.07483, equation 2.
    """

    alpha: float = field(default=1.0, validator=positive, doc="minus the limit for large negative inputs")

    def forward(self, x: Any) -> Any:
        return functional.celu(x, self.alpha)
