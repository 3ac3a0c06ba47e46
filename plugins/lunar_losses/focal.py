"""The focal loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.fusion import is_half
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class Focal(Loss):
    """``alpha_t * (1 - p_t) ** gamma * BCE``: binary cross-entropy that counts what is easy less.

    ``p_t`` is the probability that the model gives to the right answer, ``alpha_t`` is ``alpha`` for positives and
    ``1 - alpha`` for negatives (``None`` weighs both 1). Shapes: ``pred`` (N, ...) are logits, one for each class that
    may be present, ``target`` has their shape, with values in [0, 1]. The mean is over all elements; detectors divide
    the sum by the number of positives instead (``reduction="sum"``). Computed from the logits without overflow.

    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017), arXiv:1708.02002, equation 5, in the sigmoid form
    of ``torchvision.ops.sigmoid_focal_loss``.

    Raises:
        ShapeError: a target of another shape.
    """

    gamma: float = field(default=2.0, validator=non_negative, doc="how strongly easy examples fade")
    alpha: float | None = field(default=0.25, validator=in_range(0, 1), doc="share of the positives; None for none")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("Focal", pred, target)
        losses = ops.bce_with_logits(pred, target)
        if self.gamma:
            wrong = ops.sigmoid(pred) * (1.0 - target) + ops.sigmoid(-pred) * target
            if self.gamma < 1:  # the slope of the power is infinite at 0
                wrong = ops.maximum(wrong, 1e-7 if is_half(wrong.dtype) else float(np.finfo(np.float32).tiny))
            losses = wrong**self.gamma * losses
        if self.alpha is not None:
            losses = (self.alpha * target + (1.0 - self.alpha) * (1.0 - target)) * losses
        return losses, None
