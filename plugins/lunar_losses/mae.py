"""Mean absolute error."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class MAE(Loss):
    """``|pred - target|``; the mean over all elements.

    Shapes: ``target`` has the shape of ``pred``. The slope at 0 is 0. This is ``torch.nn.L1Loss``; the loss of masked
    autoencoders, which shares the abbreviation, is :class:`~lunar_losses.masked_reconstruction.MaskedReconstruction`.

    Raises:
        ShapeError: a target of another shape.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        return ops.abs(pred - matching_target("MAE", pred, target)), None
