"""The hinge loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import signs


class Hinge(Loss):
    """``max(0, margin - y * pred)`` with labels y of -1 and 1; the mean over all elements.

    Shapes: ``target`` has the shape of ``pred`` (scores); what is above 0 is the positive class, so labels 0 / 1 do as
    well. C. Cortes and V. Vapnik, Support-Vector Networks (1995); ``optax.hinge_loss``.

    Raises:
        ShapeError: a target of another shape.
    """

    margin: float = field(default=1.0, validator=positive, doc="score beyond which nothing is lost")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        return ops.relu(self.margin - pred * signs("Hinge", pred.shape, pred, target)), None
