"""The smooth L1 loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class SmoothL1(Loss):
    """With ``d = |pred - target|``: ``d ** 2 / (2 beta)`` up to ``beta``, ``d - beta / 2`` beyond.

    Shapes: ``target`` has the shape of ``pred``; the mean is over all elements. Unlike in the Huber loss the slope far
    out is 1 whatever ``beta`` is; ``beta=0`` is the absolute error. R. Girshick, Fast R-CNN (2015), arXiv:1504.08083,
    equation 3 (beta 1); this is ``torch.nn.SmoothL1Loss``.

    Raises:
        ShapeError: a target of another shape.
    """

    beta: float = field(default=1.0, validator=non_negative, doc="distance at which the parabola becomes a line")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        distance = ops.abs(pred - matching_target("SmoothL1", pred, target))
        if not self.beta:
            return distance, None
        near = ops.clip(distance, high=self.beta)
        return near * (distance - 0.5 * near) / self.beta, None
