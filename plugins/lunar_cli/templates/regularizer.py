"""The TemplateClass regularizer."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.regularizer import Regularizer, Seen
from lunar_core.tensor import Tensor


class TemplateClass(Regularizer):
    """``rate * sum(sqrt(w ** 2 + eps ** 2) - eps)`` over all weights of two axes or more: a smooth L1 penalty.

    Source: Charbonnier et al. 1994, the penalty of their edge-preserving regularization, shifted to be 0 at 0.
    """

    rate: float = field(default=1e-4, validator=non_negative, doc="factor on the penalty")
    eps: float = field(default=1e-3, validator=positive, doc="below this a weight is penalised like its square")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        total: Any = 0.0
        for p in model.parameters():
            if p.ndim > 1:
                total = total + (ops.sqrt(p * p + self.eps**2) - self.eps).sum()
        return total * self.rate, 1.0
