"""The quantile loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, matching_target


class Quantile(Loss):
    """``max(q * d, (q - 1) * d)`` with ``d = target - pred``, least where ``pred`` is the target's ``q``-quantile.

    Shapes: for one ``q`` the target has the shape of ``pred``. For several, the last axis of ``pred`` holds a
    prediction for each of them and the target lacks that axis: ``pred`` (..., Q), ``target`` (...). The mean is over
    all elements. R. Koenker and G. Bassett, Regression Quantiles (1978); also called pinball loss
    (``sklearn.metrics.mean_pinball_loss``).

    Raises:
        ShapeError: a target that does not fit, or another number of predictions than of quantiles.
    """

    q: float | tuple[float, ...] = field(
        default=0.5, validator=in_range(0, 1, include_low=False, include_high=False), doc="the quantile or quantiles"
    )

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        if isinstance(self.q, float):
            q: Any = self.q
            difference = matching_target("Quantile", pred, target) - pred
        else:
            if not pred.ndim or pred.shape[-1] != len(self.q):
                raise ShapeError(
                    f"Quantile has {len(self.q)} quantiles, which the last axis of {tuple(pred.shape)} has to hold"
                )
            q = constant(pred, self.q, pred.dtype)
            difference = ops.expand_dims(matching_target("Quantile", pred[..., 0], target), -1) - pred
        return ops.maximum(difference * q, difference * (q - 1.0)), None
