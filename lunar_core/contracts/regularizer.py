"""Regularizer: a penalty on a model, as a sum and a weight.

The training loop adds ``sum / weight`` of each regularizer to the loss of every step.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..component import Component
from ..tensor import Tensor


class Regularizer(Component):
    """Base of regularizers: write ``terms(model)``."""

    kind: ClassVar[str] = "regularizer"

    def terms(self, model: Any) -> tuple[Tensor, float]:
        """(penalty, weight) of ``model`` as it is now; differentiable in the model's parameters."""
        raise NotImplementedError(f"{type(self).__name__} defines no terms()")

    def __call__(self, model: Any) -> Tensor:
        """The penalty that is added to the loss."""
        total, weight = self.terms(model)
        return total if weight == 1 else total / weight
