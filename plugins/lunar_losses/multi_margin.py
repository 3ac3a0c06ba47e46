"""The multi-class hinge loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, one_of
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import class_labels, class_vector, constant


class MultiMargin(Loss):
    """``sum over c != y of w[y] * max(0, margin - pred[y] + pred[c]) ** p / C`` for the right class y.

    Shapes: ``pred`` (N, C) scores, ``target`` (N,) integer classes; the mean is over samples, whatever their class
    weighs. K. Crammer and Y. Singer (2001), summed over classes as in J. Weston and C. Watkins (1999); this is
    ``torch.nn.MultiMarginLoss``.

    Raises:
        ShapeError: scores that are no matrix, a target that does not fit, or another number of weights.
        IndexingError: a class out of range.
    """

    p: int = field(default=1, validator=one_of(1, 2), doc="power of a margin that is missed: 1 or 2")
    margin: float = field(default=1.0, doc="by how much the right class has to lead")
    class_weights: tuple[float, ...] | None = field(default=None, validator=non_negative, doc="weight of each class")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        if pred.ndim != 2:
            raise ShapeError(f"MultiMargin expects scores (N, C), got {tuple(pred.shape)}")
        labels, _ = class_labels("MultiMargin", pred, target, 1, None)
        right = ops.take_along_axis(pred, labels[:, None], 1)
        missed = ops.relu(self.margin - right + pred)
        others = labels[:, None] != constant(pred, range(pred.shape[1]))
        losses = ops.sum(ops.where(others, missed * missed if self.p == 2 else missed, 0.0), axis=1) / pred.shape[1]
        weights = class_vector("MultiMargin", self.class_weights, pred, 1)
        return (losses if weights is None else losses * weights[labels]), None
