"""Negative log-likelihood of counts."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class PoissonNLL(Loss):
    """``exp(pred) - target * pred``: minus the log-likelihood of counts, where ``pred`` is the rate's logarithm.

    Shapes: ``target`` (counts) has the shape of ``pred``; the mean is over all elements. With ``log_input=False``
    ``pred`` is the rate itself: ``pred - target * log(pred + eps)``. ``full`` adds Stirling's approximation of
    log(target!) where the target exceeds 1: ``t log t - t + log(2 pi t) / 2``. This is ``torch.nn.PoissonNLLLoss``.

    Raises:
        ShapeError: a target of another shape.
    """

    log_input: bool = field(default=True, doc="whether predictions are logarithms of rates")
    full: bool = field(default=False, doc="add Stirling's approximation of the constant term")
    eps: float = field(default=1e-8, validator=positive, doc="added to a rate before its logarithm")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("PoissonNLL", pred, target)
        losses = ops.exp(pred) - target * pred if self.log_input else pred - target * ops.log(pred + self.eps)
        if self.full:
            many = target > 1
            t = ops.where(many, target, 1.0)
            losses = losses + ops.where(many, t * ops.log(t) - t + 0.5 * ops.log(2 * math.pi * t), 0.0)
        return losses, None
