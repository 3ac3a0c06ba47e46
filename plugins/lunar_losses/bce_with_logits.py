"""Binary cross-entropy of logits."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, matching_target


class BCEWithLogits(Loss):
    """``-(pos_weight * t * log(s) + (1 - t) * log(1 - s))`` with ``s = sigmoid(pred)``; the mean over all elements.

    Shapes: ``pred`` (N, ...) are logits, ``target`` has their shape, with values in [0, 1] of any dtype. Computed
    without overflow from the logits.

    ``pos_weight`` above 1 counts the positive class more: one number, or one for each entry of the last axis. It does
    not enter the weight that the mean divides by.

    This is ``torch.nn.BCEWithLogitsLoss``.

    Raises:
        ShapeError: a target of another shape, or another number of weights.
    """

    pos_weight: float | tuple[float, ...] | None = field(
        default=None, validator=positive, doc="factor on the positive term: one number, or one for each class"
    )

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("BCEWithLogits", pred, target)
        pos_weight = None if self.pos_weight is None else constant(pred, self.pos_weight, pred.dtype)
        return ops.bce_with_logits(pred, target, pos_weight), None
