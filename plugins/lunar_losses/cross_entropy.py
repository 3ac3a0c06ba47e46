"""Cross-entropy of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import beside, class_vector, label_weights, raw


class CrossEntropy(Loss):
    """``-sum over c of q[c] * log softmax(pred)[c]`` with the target distribution ``q``.

    Shapes: ``pred`` (N, C, ...) are logits with the classes on ``axis``. ``target`` is either integer classes, shape
    (N, ...), or the probability of each class, one-hot rows included, in the shape of ``pred``. The mean is over all
    samples and positions.

    - ``label_smoothing`` moves that share of ``q`` to the uniform distribution over the C classes (C. Szegedy et al.,
      Rethinking the Inception Architecture, CVPR 2016, section 7).
    - ``ignore_index`` is a class that does not count, neither in the sum nor in the weight; ``None`` counts all.
    - ``class_weights`` multiplies the term of each class. For integer targets a sample's weight in the mean is its
      class's weight; for probabilities it is 1.

    This is ``torch.nn.CrossEntropyLoss`` in all of its parts; the mean over samples that are all ignored is NaN there
    and here, while ``terms`` gives (0, 0).

    Raises:
        ShapeError: targets that are neither classes nor probabilities for these logits, or another number of weights.
        DTypeError: classes that are no integers.
        IndexingError: a class out of range.
    """

    label_smoothing: float = field(
        default=0.0, validator=in_range(0, 1), doc="share of the target spread over all classes"
    )
    ignore_index: int | None = field(default=-100, doc="class that does not count; None counts all")
    class_weights: tuple[float, ...] | None = field(default=None, validator=non_negative, doc="weight of each class")
    axis: int = field(default=1, doc="axis of the logits that holds the classes")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = beside(pred, target)
        class_weights = class_vector("CrossEntropy", self.class_weights, pred, self.axis if pred.ndim > 1 else 0)
        losses = ops.cross_entropy(
            pred,
            target,
            class_weights,
            axis=self.axis,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
        )
        if tuple(target.shape) == tuple(pred.shape):
            return losses, None
        labels = raw(target)
        ignored = None if self.ignore_index is None else labels == self.ignore_index
        xp = backend.of(labels).xp
        if ignored is not None and xp is np and not ignored.any():  # on a device the question would wait for it
            ignored = None
        if ignored is not None and class_weights is not None:
            labels = xp.where(ignored, 0, labels)
        return losses, label_weights(labels, ignored, class_weights)
