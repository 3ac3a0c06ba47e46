"""The confusion matrix: a metric, and the state of all metrics that follow from it."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import host, spread
from .labels import Labels, decode


class Confusion(Metric):
    """Base of metrics that are functions of the confusion matrix; a subclass defines ``result``.

    Forms of ``pred`` and ``target``: see :func:`lunar_metrics.labels.decode`. ``weight`` is one number per example,
    shape (N,), or one per prediction. A prediction with a NaN in it names no class: it is missed by its target's
    class and claimed by none. Predictions whose target is ``ignore_index`` are not counted.

    The number of classes is that of the scores; predictions given as class indices take it from ``num_classes``, or
    else it grows with the largest index seen.
    """

    # counts[i, j]: weight of class i predicted as class j, with j = number of classes for no class at all;
    # invalid: targets out of range on a device, where they are looked at in the end only
    totals: ClassVar[dict[str, Any]] = {"counts": 0, "invalid": 0}
    higher_is_better: ClassVar[bool | None] = True

    axis: int | None = field(
        default=1, kw_only=True, doc="axis of pred that holds the classes; None where each prediction is one number"
    )
    from_logits: bool = field(default=True, kw_only=True, doc="one-number predictions are logits, not probabilities")
    ignore_index: int | None = field(default=-100, kw_only=True, doc="target that is not counted")
    num_classes: int | None = field(
        default=None, kw_only=True, validator=positive, doc="number of classes, where pred is labels"
    )

    def labels(self, pred: Any, target: Any) -> Labels:
        """The class indices of a batch."""
        return decode(
            type(self).__name__,
            pred,
            target,
            axis=self.axis,
            from_logits=self.from_logits,
            ignore_index=self.ignore_index,
            num_classes=self.num_classes,
        )

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        labels = self.labels(pred, target)
        weight = spread(type(self).__name__, weight, tuple(labels.truth.shape))
        self.count(labels, weight)

    def count(self, labels: Labels, weight: Any) -> None:
        """Add class indices to the matrix."""
        counts = tally(labels, weight)
        size = max(labels.classes, self.classes)
        self.counts = resized(self.counts, size) + resized(counts, size)
        if labels.valid is not None:
            self.invalid = self.invalid + (~labels.valid).sum()

    @property
    def classes(self) -> int:
        """How many classes were seen."""
        return self.counts.shape[0] if backend.is_array(self.counts) else 0

    def merge(self, other: Metric) -> None:
        if isinstance(other, Confusion) and self.classes != other.classes:
            size = max(self.classes, other.classes)
            self.counts, other = resized(self.counts, size), copy.copy(other)
            other.counts = resized(other.counts, size)
        super().merge(other)

    def matrix(self) -> np.ndarray:
        """The counts on the host, shape (classes, classes + 1)."""
        if int(self.invalid):
            raise DataError(
                f"{type(self).__name__}: {int(self.invalid)} targets or predictions lie outside of the classes"
            )
        counts = host(self.counts)
        if not counts.sum() > 0:
            raise DataError(f"{type(self).__name__}: the weights of the predictions sum to {counts.sum():g}")
        return counts

    def square(self) -> np.ndarray:
        """:meth:`matrix` as a square one, in which "no class" is a class after the others if it occurs."""
        counts = self.matrix()
        return np.vstack([counts, np.zeros(counts.shape[1])]) if counts[:, -1].any() else counts[:, :-1]


def tally(labels: Labels, weight: Any) -> Any:
    """The (classes, classes + 1) matrix of a batch; weights have the labels' shape or are None."""
    xp = backend.of(labels.truth).xp
    classes = labels.classes
    cells = classes * (classes + 1)
    cell = labels.truth * (classes + 1) + labels.predicted
    for use in (labels.counted, labels.valid):
        if use is not None:
            cell = xp.where(use, cell, cells)  # one cell more, which is thrown away
    weight = None if weight is None else weight.reshape(-1)
    return xp.bincount(cell.reshape(-1), weight, minlength=cells + 1)[:cells].reshape(classes, classes + 1)


def resized(counts: Any, classes: int) -> Any:
    """A matrix of counts with room for more classes; 0, the empty one, stays."""
    if not backend.is_array(counts) or counts.shape[0] == classes:
        return counts
    xp = backend.of(counts).xp
    old = counts.shape[0]
    out = xp.zeros((classes, classes + 1), dtype=counts.dtype)
    out[:old, :old] = counts[:, :old]
    out[:old, classes] = counts[:, old]
    return out


class ConfusionMatrix(Confusion):
    """How often class i (row) was predicted as class j (column), weighted where weights are given.

    :meth:`compute` gives ``{"matrix": rows}``, a list of lists, counts as integers where there are no weights.
    ``normalize`` divides by the sum of each row (``"true"``), of each column (``"pred"``) or of all (``"all"``); a sum
    of 0 gives zeros. Predictions with a NaN are in no column.

    Equals ``sklearn.metrics.confusion_matrix(..., normalize=, sample_weight=)`` with all class indices as labels.
    """

    higher_is_better: ClassVar[bool | None] = None

    normalize: str | None = field(
        default=None, validator=one_of("true", "pred", "all"), doc='divide by rows ("true"), columns ("pred") or "all"'
    )

    def result(self) -> dict[str, Any]:
        counts = self.matrix()[:, :-1]
        axis = {"true": 1, "pred": 0, "all": None}.get(self.normalize or "")
        if self.normalize is not None:
            total = counts.sum(axis=axis, keepdims=True)
            counts = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        elif self.counts.dtype.kind in "iu":
            counts = counts.astype(np.int64)
        return {"matrix": counts.tolist()}
