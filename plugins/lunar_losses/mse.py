"""Mean squared error."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class MSE(Loss):
    """``(pred - target) ** 2``; the mean over all elements.

    Shapes: ``target`` has the shape of ``pred``; it is converted to the dtype of ``pred``. A sample weight counts for
    all elements of its sample.

    Raises:
        ShapeError: a target of another shape. It is not broadcast: (N,) against (N, 1) would give N x N differences.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        return ops.square(pred - matching_target("MSE", pred, target)), None
