"""The Huber loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class Huber(Loss):
    """With ``d = |pred - target|``: ``d ** 2 / 2`` up to ``delta``, the line ``delta * (d - delta / 2)`` beyond.

    Shapes: ``target`` has the shape of ``pred``; the mean is over all elements. Outliers pull with a force of at most
    ``delta``, which is in the unit of the target. P. J. Huber, Robust Estimation of a Location Parameter (1964); this
    is ``torch.nn.HuberLoss``.

    Raises:
        ShapeError: a target of another shape.
    """

    delta: float = field(default=1.0, validator=positive, doc="distance at which the parabola becomes a line")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        distance = ops.abs(pred - matching_target("Huber", pred, target))
        near = ops.clip(distance, high=self.delta)  # near * (d - near / 2) is both branches, and never overflows
        return near * (distance - 0.5 * near), None
