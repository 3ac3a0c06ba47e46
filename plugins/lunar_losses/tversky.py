"""The Tversky loss."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.tensor import Tensor
from lunar_losses.overlap import Overlap


class Tversky(Overlap):
    """``1 - TP / (TP + alpha FP + beta FN)`` with soft counts, a class at a time: false alarms and misses weigh unlike.

    Shapes: ``pred`` (N, C, ...) logits or probabilities (``activation``), ``target`` class indices (N, ...) or the shape
    of ``pred``; losses (N, C), or (C,) with ``batch``. See :class:`~lunar_losses.overlap.Overlap` for what is counted.
    At alpha = beta = 0.5 it is the Dice loss, at 1 the Jaccard loss.

    S. S. M. Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional deep networks
    (2017), arXiv:1706.05721, equation 2; the defaults are those that it found best.

    Raises:
        ShapeError: a target that does not fit, or a softmax over one class.
    """

    alpha: float = field(default=0.3, validator=non_negative, doc="weight of false alarms")
    beta: float = field(default=0.7, validator=non_negative, doc="weight of misses")

    def ratio(self, p: Any, t: Any, count: Any) -> Tensor:
        hit = count(p * t)
        wrong = self.alpha * (count(p) - hit) + self.beta * (count(t) - hit)
        return (hit + self.smooth) / (hit + wrong + self.smooth)
