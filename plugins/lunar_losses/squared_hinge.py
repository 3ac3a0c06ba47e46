"""The squared hinge loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import signs


class SquaredHinge(Loss):
    """``max(0, margin - y * pred) ** 2`` with labels y of -1 and 1; the mean over all elements.

    Shapes: ``target`` has the shape of ``pred`` (scores); what is above 0 is the positive class, so labels 0 / 1 do as
    well. Smooth, unlike the hinge. Y. Tang, Deep Learning using Linear Support Vector Machines (2013),
    arXiv:1306.0239, equation 6; ``keras.losses.SquaredHinge``.

    Raises:
        ShapeError: a target of another shape.
    """

    margin: float = field(default=1.0, validator=positive, doc="score beyond which nothing is lost")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        return ops.square(ops.relu(self.margin - pred * signs("SquaredHinge", pred.shape, pred, target))), None
