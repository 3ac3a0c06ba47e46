"""Gaussian error linear unit."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, one_of
from lunar_core.contracts.activation import Activation


class GELU(Activation):
    """``x * Phi(x)`` with the distribution function ``Phi`` of the standard normal.

    ``approximate="none"`` computes it exactly, ``x / 2 * (1 + erf(x / sqrt(2)))``; ``"tanh"`` by the approximation
    ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3)))`` that GPT-2 and BERT were trained with. The names are
    PyTorch's.

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, arXiv:1606.08415, section 2.
    """

    approximate: str = field(default="none", validator=one_of("none", "tanh"), doc="exact, or the tanh approximation")

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, approximate=self.approximate)
