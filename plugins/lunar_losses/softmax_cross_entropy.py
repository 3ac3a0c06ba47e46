"""Cross-entropy of logits with one-hot rows."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class SoftmaxCrossEntropy(Loss):
    """``-sum over the last axis of target * log softmax(pred)``, for targets that are distributions.

    Shapes: ``pred`` (..., C) are logits with the classes on ``axis``, by default the last; ``target`` has their shape:
    one-hot rows or probabilities, of any dtype. The mean is over all rows. ``label_smoothing`` moves that share of the
    target to the uniform distribution. Class indices, class weights and an ignored class are
    :class:`~lunar_losses.cross_entropy.CrossEntropy`'s, whose classes are on axis 1. This is
    ``optax.softmax_cross_entropy``, with the gradient in the targets as well.

    Raises:
        ShapeError: a target of another shape.
    """

    label_smoothing: float = field(
        default=0.0, validator=in_range(0, 1), doc="share of the target spread over all classes"
    )
    axis: int = field(default=-1, doc="axis of the logits that holds the classes")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("SoftmaxCrossEntropy", pred, target)
        options = {"label_smoothing": self.label_smoothing, "ignore_index": None}
        return ops.cross_entropy(pred, target, axis=self.axis, **options), None
