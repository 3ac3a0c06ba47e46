"""Binary cross-entropy of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


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
        pos_weight = None
        if self.pos_weight is not None:
            raw = pred.data if isinstance(pred, Tensor) else pred
            owner = backend.of(raw)
            pos_weight = owner.from_numpy(np.array(self.pos_weight, raw.dtype), owner.device_of(raw))
        return ops.bce_with_logits(pred, target, pos_weight), None
