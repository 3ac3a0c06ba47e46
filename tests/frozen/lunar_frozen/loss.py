"""The FrozenLoss loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor


class FrozenLoss(Loss):
    """``(1 - softmax(pred)[class] ** q) / q``: cross entropy as q goes to 0, the mean absolute error at q = 1.

    Shapes: ``pred`` (N, C) logits, ``target`` (N,) integer classes. Source: Zhang and Sabuncu 2018, arXiv:1805.07836,
    equation 6, without truncation.
    """

    q: float = field(default=0.7, validator=in_range(0, 1, include_low=False), doc="how little outliers count")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        labels = target.data if isinstance(target, Tensor) else target
        chosen = ops.take_along_axis(ops.log_softmax(pred, axis=-1), labels[:, None], -1)
        return (1.0 - ops.exp(self.q * ops.squeeze(chosen, -1))) / self.q, None
