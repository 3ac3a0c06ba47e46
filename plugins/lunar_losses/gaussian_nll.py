"""Negative log-likelihood of normal variables."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target, several


class GaussianNLL(Loss):
    """``(log(var) + (mean - target) ** 2 / var) / 2``, where the model gives a mean and a variance.

    ``pred`` is a pair ``(mean, var)``; the target has the shape of ``mean``, and ``var`` broadcasts to it: one
    variance an element, or (N, 1) for one a sample. Variances below ``eps`` count as ``eps``, while the gradient
    passes as if they did not, so that it can lift them. ``full`` adds the constant ``log(2 pi) / 2``. The mean is over
    all elements. D. A. Nix and A. S. Weigend (1994); this is ``torch.nn.GaussianNLLLoss``.

    Raises:
        ShapeError: a prediction that is no pair, or a target of another shape.
    """

    full: bool = field(default=False, doc="add the constant log(2 pi) / 2")
    eps: float = field(default=1e-6, validator=positive, doc="smallest variance")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        mean, var = several("GaussianNLL", pred, "mean", "var")
        target = matching_target("GaussianNLL", mean, target)
        detached = var.detach()
        var = var + (ops.clip(detached, low=self.eps) - detached)
        losses = 0.5 * (ops.log(var) + ops.square(mean - target) / var)
        return (losses + 0.5 * math.log(2 * math.pi) if self.full else losses), None
