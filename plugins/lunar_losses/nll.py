"""Negative log-likelihood."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import class_labels, class_vector, label_weights, raw


class NLL(Loss):
    """``-pred[class]``, where ``pred`` holds the logarithm of each class's probability.

    Shapes: ``pred`` (N, C, ...) with the classes on ``axis`` (N may be missing), ``target`` (N, ...) integer classes.
    ``ignore_index`` is a class that does not count, ``None`` counts all; ``class_weights`` multiplies the term of each
    class, and is what a sample weighs in the mean. This is ``torch.nn.NLLLoss``. After ``log_softmax`` it is the cross
    entropy, which :class:`~lunar_losses.cross_entropy.CrossEntropy` computes in one from the logits.

    Raises:
        ShapeError: a target of another shape, or another number of weights.
        DTypeError: classes that are no integers.
        IndexingError: a class out of range.
    """

    ignore_index: int | None = field(default=-100, doc="class that does not count; None counts all")
    class_weights: tuple[float, ...] | None = field(default=None, validator=non_negative, doc="weight of each class")
    axis: int = field(default=1, doc="axis that holds the classes")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        axis = self.axis % pred.ndim if pred.ndim > 1 else 0
        labels, ignored = class_labels("NLL", pred, target, axis, self.ignore_index)
        class_weights = class_vector("NLL", self.class_weights, pred, axis)
        losses = -ops.squeeze(ops.take_along_axis(pred, raw(ops.expand_dims(labels, axis)), axis), axis)
        if class_weights is not None:
            losses = losses * class_weights[labels]
        if ignored is not None:
            losses = ops.where(ignored, 0.0, losses)
        return losses, label_weights(labels, ignored, class_weights)
