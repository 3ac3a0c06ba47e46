"""What the overlap losses share: soft counts of hits and misses, a class at a time."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, one_of
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor, as_tensor
from lunar_losses.checks import class_maps, scores


class Overlap(Loss):
    """Base of losses of segmentation maps that are 1 minus a ratio of soft counts; write ``ratio``.

    Shapes: ``pred`` (N, C, ...) holds logits, from which ``activation`` makes probabilities: "softmax" over the classes,
    "sigmoid" of each, or "none" if they are probabilities already. ``target`` holds class indices (N, ...), of which
    ``ignore_index`` does not count, or one number for each class in the shape of ``pred``.

    One loss a sample and class, (N, C), over which the mean is taken; with ``batch`` the counts are of the whole batch,
    one loss a class, (C,), and a batch that is cut in parts gives another value. ``smooth`` is added to numerator and
    denominator, so that a class that is absent from both maps has loss 0.
    """

    activation: str = field(
        default="softmax", validator=one_of("softmax", "sigmoid", "none"), doc="how logits become probabilities"
    )
    smooth: float = field(default=1e-5, validator=non_negative, doc="added to numerator and denominator")
    batch: bool = field(default=False, doc="count over the whole batch instead of each sample")
    ignore_index: int | None = field(default=None, doc="class index whose positions do not count")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        name = type(self).__name__
        target, counted = class_maps(name, pred, target, self.ignore_index)
        p = scores(name, pred, self.activation)
        target = as_tensor(target)
        if counted is not None:
            p, target = p * counted, target * counted
        axes = (*range(2, pred.ndim), *((0,) if self.batch else ()))
        return 1.0 - self.ratio(p, target, lambda x: ops.sum(x, axis=axes) if axes else x), None

    def ratio(self, p: Any, t: Any, count: Any) -> Tensor:
        """The overlap of probabilities and targets; ``count`` sums over positions."""
        raise NotImplementedError
