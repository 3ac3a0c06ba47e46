"""The share of predictions whose k best classes include the right one."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.component import field, positive
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import quotient, spread, weighted_sum
from .labels import class_axis, class_targets


class TopKAccuracy(Metric):
    """The share of predictions whose ``k`` largest scores include that of the right class, weighted where weights are given.

    Shapes: ``pred`` (N, C, ...) with the classes along ``axis``; ``target`` class indices (N, ...), or one-hot rows or
    probabilities of the shape of ``pred``. Of equal scores the class of lower index goes first (scikit-learn puts the
    higher one first). A prediction with a NaN in it is wrong. With ``k`` of at least C everything else is right.

    Without ties equal to ``sklearn.metrics.top_k_accuracy_score(..., k=, sample_weight=)``.

    Raises:
        DataError: shapes that do not fit, a class index out of range, or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = True
    totals: ClassVar[dict[str, Any]] = {"correct": 0, "total": 0, "invalid": 0}

    k: int = field(default=5, validator=positive, doc="how many of the best classes may hold the right one")
    axis: int = field(default=1, kw_only=True, doc="the axis of pred that holds the classes")
    ignore_index: int | None = field(default=-100, kw_only=True, doc="class index that is not counted")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        at = class_axis("TopKAccuracy", pred, self.axis)
        if at is None:
            raise DataError(f"TopKAccuracy: pred needs a class axis, got shape {tuple(pred.shape)}")
        xp = backend.of(pred).xp
        truth, counted, valid = class_targets("TopKAccuracy", target, tuple(pred.shape), at, self.ignore_index)
        place = xp.expand_dims(truth, at)
        score = xp.take_along_axis(pred, place, at)
        column = (1,) * at + (-1,) + (1,) * (pred.ndim - 1 - at)
        before = xp.arange(pred.shape[at]).reshape(column) < place
        rank = ((pred > score) | ((pred == score) & before)).sum(axis=at)
        hits = ((rank < self.k) & (pred == pred).all(axis=at)).astype(float)
        weight = spread("TopKAccuracy", weight, tuple(hits.shape))
        for use in (counted, valid):
            if use is not None:
                weight = use.astype(float) if weight is None else weight * use
        correct, total = weighted_sum(hits, weight)
        self.correct = self.correct + correct
        self.total = self.total + total
        if valid is not None:
            self.invalid = self.invalid + (~valid).sum()

    def result(self) -> float:
        if int(self.invalid):
            raise DataError(f"TopKAccuracy: {int(self.invalid)} targets lie outside of the classes")
        return quotient("TopKAccuracy", self.correct, self.total)
