"""Jensen-Shannon divergence."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target
from lunar_losses.kl_div import finite_log


class JSDiv(Loss):
    """``KL(p || m) / 2 + KL(t || m) / 2`` with ``m = (p + t) / 2``: symmetric, between 0 and log 2.

    Shapes: ``pred`` (N, C, ...) holds logarithms of probabilities p with the classes on ``axis``, as for
    :class:`~lunar_losses.kl_div.KLDiv`; ``target`` has their shape: probabilities t, or logarithms with
    ``log_target``. One loss a sample and position. J. Lin, Divergence Measures Based on the Shannon Entropy (1991),
    with natural logarithms: the square of ``scipy.spatial.distance.jensenshannon``.

    Raises:
        ShapeError: a target of another shape.
    """

    log_target: bool = field(default=False, doc="whether targets are logarithms too")
    axis: int = field(default=1, doc="axis of the distributions")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("JSDiv", pred, target)
        if not self.log_target:
            some = target > 0
            target = ops.where(some, ops.log(ops.where(some, target, 1.0)), -math.inf)
        middle = finite_log(ops.logaddexp(pred, target) - math.log(2))
        parts = ops.exp(pred) * (finite_log(pred) - middle) + ops.exp(target) * (finite_log(target) - middle)
        return 0.5 * ops.sum(parts, axis=self.axis if pred.ndim > 1 else 0), None
