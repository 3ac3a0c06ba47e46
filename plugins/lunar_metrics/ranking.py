"""Metrics of the order in which scores put the examples: area under the ROC curve, average precision."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, one_of
from lunar_core.errors import DataError

from .arrays import spread
from .collected import Collected
from .labels import checked_indices, class_axis


class Ranking(Collected):
    """Base of metrics of one ranking per class; a subclass defines :meth:`curve`.

    Forms of a batch:

    - two classes by one number: ``pred`` (N,) or (N, 1) scores or logits, ``target`` 0 and 1 of either shape;
    - several classes: ``pred`` (N, C, ...) with the classes along ``axis``, ``target`` class indices (N, ...). Each class
      is ranked against the others by its probability: the softmax of ``pred``, or with ``from_logits=False`` ``pred`` as
      it is (a softmax changes the order of examples, so it matters);
    - several labels: ``pred`` (N, L, ...) and ``target`` 0 and 1 of the same shape; each label is ranked by its score.

    ``average``: ``"macro"``, the mean over classes; ``"weighted"``, by how often each occurs; ``"micro"``, one ranking of
    all scores; ``"none"``, ``{"0": value, ...}``. Classes for which the value is not defined are left out.

    ``weight`` is one number per example or per prediction; examples of weight 0, and class indices equal to
    ``ignore_index``, do not count. A score of NaN makes the value NaN. All scores are kept until the end.
    """

    columns: ClassVar[tuple[str, ...]] = ("score", "truth", "weight")
    totals: ClassVar[dict[str, Any]] = {"indexed": 0, "invalid": 0}
    higher_is_better: ClassVar[bool | None] = True

    average: str = field(default="macro", validator=one_of("macro", "weighted", "micro", "none"), doc="over classes")
    axis: int = field(default=1, kw_only=True, doc="the axis of pred that holds the classes")
    from_logits: bool = field(default=True, kw_only=True, doc="softmax the scores of several classes")
    ignore_index: int | None = field(default=-100, kw_only=True, doc="class index that is not counted")

    def curve(self, hits: np.ndarray, alarms: np.ndarray) -> float | None:
        """The value from the weight of positives and of negatives at or above each threshold, which falls; None if undefined."""
        raise NotImplementedError(f"{type(self).__name__} must define curve")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        name = type(self).__name__
        at = class_axis(name, pred, self.axis)
        xp = backend.of(pred).xp
        if at is None:
            pred, at = pred.reshape(-1, 1), 1
            target = target.reshape(-1, 1) if target.ndim == 1 else target
        elif pred.shape[at] == 1 and target.ndim == pred.ndim - 1:
            target = xp.expand_dims(target, at)
        places = tuple(pred.shape[:at] + pred.shape[at + 1 :])
        counted = valid = None
        indexed = tuple(target.shape) == places
        if indexed:
            truth, counted, valid = checked_indices(name, target, pred.shape[at], self.ignore_index)
            truth = truth.reshape(-1, 1)
        elif tuple(target.shape) == tuple(pred.shape):
            truth = _rows(target, at)
            if isinstance(truth, np.ndarray) and not np.isin(truth, (0, 1)).all():
                raise DataError(
                    f"{name}: targets of the shape of pred are 0 and 1, got {truth.min():g}..{truth.max():g}"
                )
        else:
            raise DataError(
                f"{name}: scores {tuple(pred.shape)} take class indices {places} or labels {tuple(pred.shape)}, got "
                f"{tuple(target.shape)}"
            )
        if self.seen and bool(self.indexed) != indexed:
            raise DataError(f"{name}: class indices and labels of the scores' shape in one run of batches")
        rows = xp.ones(places) if weight is None else spread(name, weight, places)
        for use in (counted, valid):
            if use is not None:
                rows = rows * use
        self.keep(score=_rows(pred, at), truth=truth, weight=rows.reshape(-1))
        self.indexed = self.indexed + int(indexed)
        if valid is not None:
            self.invalid = self.invalid + (~valid).sum()

    def result(self) -> float | dict[str, float]:
        name = type(self).__name__
        if int(self.invalid):
            raise DataError(f"{name}: {int(self.invalid)} targets lie outside of the classes")
        score, truth, weight = self.column("score"), self.column("truth"), self.column("weight")
        score = score.astype(np.float64)[weight > 0]
        truth, weight = truth[weight > 0], weight[weight > 0]
        if np.isnan(score).any():
            return math.nan
        classes = score.shape[1]
        if self.indexed:
            truth = truth == np.arange(classes)
            if self.from_logits and classes > 1:
                score = np.exp(score - score.max(axis=1, keepdims=True))
                score /= score.sum(axis=1, keepdims=True)
        truth = truth > 0
        if self.average == "micro":
            score, truth, weight = score.reshape(-1, 1), truth.reshape(-1, 1), np.repeat(weight, classes)
        values = [self._value(score[:, c], truth[:, c], weight) for c in range(score.shape[1])]
        if self.average == "none":
            return {str(c): math.nan if value is None else value for c, value in enumerate(values)}
        share = weight @ truth if self.average == "weighted" else np.ones(len(values))
        defined = [(value, s) for value, s in zip(values, share) if value is not None]
        total = sum(s for _, s in defined)
        if not total > 0:
            raise DataError(f"{name} is defined for no class: {self.needs}", hint="evaluate on more examples")
        return float(sum(value * s for value, s in defined) / total)

    needs: ClassVar[str] = ""  # what a class must have for the value to be defined

    def _value(self, score: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float | None:
        order = np.argsort(-score, kind="stable")
        score, truth, weight = score[order], truth[order], weight[order]
        last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1) if len(score) else []
        return self.curve(np.cumsum(weight * truth)[last], np.cumsum(weight * ~truth)[last])


def _rows(x: Any, axis: int) -> Any:
    """All axes but ``axis`` merged: (rows, classes)."""
    order = (*range(axis), *range(axis + 1, x.ndim), axis)
    return x.transpose(order).reshape(-1, x.shape[axis])


class AUROC(Ranking):
    """Area under the ROC curve: how likely a positive example scores above a negative one, ties counting one half.

    The forms of a batch and the averages are those of :class:`Ranking`; several classes are each ranked against the
    rest. Equals ``sklearn.metrics.roc_auc_score(..., multi_class="ovr")``, weights included.

    Source: T. Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 27 (2006).

    Raises:
        DataError: no class has both positive and negative examples, or shapes that do not fit.
    """

    needs: ClassVar[str] = "none has both positive and negative examples"

    def curve(self, hits: np.ndarray, alarms: np.ndarray) -> float | None:
        if not len(hits) or not hits[-1] > 0 or not alarms[-1] > 0:
            return None
        y, x = np.append(0, hits), np.append(0, alarms)
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / (2 * hits[-1] * alarms[-1]))


class AveragePrecision(Ranking):
    """Area under the precision-recall curve as a step function: ``sum_n (R_n - R_{n-1}) P_n`` over falling thresholds.

    The forms of a batch and the averages are those of :class:`Ranking`. Equals
    ``sklearn.metrics.average_precision_score``, weights included, for classes that have positive examples.

    Source: C. D. Manning, P. Raghavan and H. Schütze, Introduction to Information Retrieval, 2008, section 8.4; no
    interpolation, unlike PASCAL VOC's and COCO's.

    Raises:
        DataError: no class has a positive example, or shapes that do not fit.
    """

    needs: ClassVar[str] = "none has positive examples"

    def curve(self, hits: np.ndarray, alarms: np.ndarray) -> float | None:
        if not len(hits) or not hits[-1] > 0:
            return None
        named = hits + alarms
        precision = np.divide(hits, named, out=np.zeros_like(hits), where=named > 0)
        return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])
