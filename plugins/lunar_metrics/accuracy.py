"""The share of predictions that name the right class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError


class Accuracy(Metric):
    """Correct predictions over all predictions, weighted where weights are given.

    Several classes: ``pred`` (N, C, ...) holds logits or probabilities with the classes along ``axis``; the largest is
    the prediction, the first of equals. ``target`` is class indices, without that axis, or one-hot rows or
    probabilities of the shape of ``pred``, whose largest entry is the class.

    Two classes by one number: ``pred`` (N,) or (N, 1) and ``target`` of 0 and 1 in either shape (probabilities count as
    1 from one half on). The prediction is 1 above 0, or with ``from_logits=False`` above one half.

    Predictions whose class index is ``ignore_index`` are not counted.

    ``weight`` is one number per example, shape (N,), or one per prediction, such as a mask of positions. A prediction
    with a NaN in it is wrong.

    Equals ``sklearn.metrics.accuracy_score(..., sample_weight=weight)``.

    Raises:
        DataError: shapes that do not fit, a class index outside of 0..C-1 (host arrays), or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = True
    totals: ClassVar[dict[str, Any]] = {"correct": 0, "total": 0}

    axis: int = field(default=1, doc="the axis of pred that holds the classes")
    from_logits: bool = field(default=True, doc="one-number predictions are logits rather than probabilities")
    ignore_index: int | None = field(default=-100, doc="class index that is not counted, as in the cross-entropy")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        hits, counted = self._hits(pred, target)
        if counted is not None:
            hits = hits & counted
        if weight is None:
            correct, total = hits.sum(), hits.size if counted is None else counted.sum()
        else:
            if weight.shape != hits.shape:
                weight = weight.reshape(weight.shape + (1,) * (hits.ndim - weight.ndim))
            if weight.ndim != hits.ndim or any(w not in (1, n) for w, n in zip(weight.shape, hits.shape)):
                raise DataError(f"Accuracy: weights of shape {weight.shape} do not fit predictions {hits.shape}")
            # In float64, as a sum over a data set must not depend on how it is cut into batches.
            xp = backend.of(hits).xp
            weights = xp.broadcast_to(weight.astype(np.float64), hits.shape)
            if counted is not None:
                weights = xp.where(counted, weights, 0.0)
            correct, total = xp.where(hits, weights, 0.0).sum(), weights.sum()
        self.correct = self.correct + correct
        self.total = self.total + total

    def result(self) -> float:
        total = float(self.total)
        if not total > 0:
            raise DataError(f"Accuracy: the weights of the predictions sum to {total:g}")
        return float(self.correct) / total

    def _hits(self, pred: Any, target: Any) -> tuple[Any, Any]:
        """Which predictions are right, one boolean each, and which count at all (None: all)."""
        if pred.ndim > 1 and not -pred.ndim <= self.axis < pred.ndim:
            raise DataError(f"Accuracy: pred of shape {pred.shape} has no axis {self.axis}")
        axis = self.axis % pred.ndim if pred.ndim > 1 else None
        if axis is None or pred.shape[axis] == 1:
            return self._binary_hits(pred, target, axis), None

        xp = backend.of(pred).xp
        places = pred.shape[:axis] + pred.shape[axis + 1 :]
        counted = None
        if target.shape == pred.shape:
            target = target.argmax(axis)
        elif target.shape != places:
            raise DataError(
                f"Accuracy: predictions {pred.shape} with the classes along axis {axis} take class indices {places} or "
                f"one-hot targets {pred.shape}, got {target.shape}"
            )
        elif target.dtype.kind not in "iub":
            raise DataError(f"Accuracy: class indices are integers, got {target.dtype} of shape {target.shape}")
        else:
            counted = self._counted(target, pred.shape[axis])
        predicted = pred.argmax(axis)
        # argmax takes a NaN for the largest, so the winning score tells whether there was one.
        score = xp.take_along_axis(pred, xp.expand_dims(predicted, axis), axis).squeeze(axis)
        return (predicted == target) & (score == score), counted

    def _counted(self, target: Any, classes: int) -> Any:
        """Which class indices are not ``ignore_index``, None for all; on the host they are checked."""
        if not isinstance(target, np.ndarray):  # a look at the values would stop the device
            return None if self.ignore_index is None else target != self.ignore_index
        if not target.size or (target.min() >= 0 and target.max() < classes and not self._ignores_a_class(classes)):
            return None
        counted = target != self.ignore_index
        used = target[counted]
        if used.size and not 0 <= used.min() <= used.max() < classes:
            raise DataError(
                f"Accuracy: class indices lie in 0..{classes - 1}, got {int(used.min())}..{int(used.max())}"
            )
        return counted

    def _ignores_a_class(self, classes: int) -> bool:
        return self.ignore_index is not None and 0 <= self.ignore_index < classes

    def _binary_hits(self, pred: Any, target: Any, axis: int | None) -> Any:
        if axis is not None:
            pred = pred.squeeze(axis)
            target = target.squeeze(axis) if target.ndim > pred.ndim and target.shape[axis] == 1 else target
        elif target.ndim == 2 and target.shape[1] == 1:
            target = target[:, 0]
        if target.shape != pred.shape:
            raise DataError(f"Accuracy: predictions {pred.shape} take targets of that shape, got {target.shape}")
        if isinstance(target, np.ndarray) and target.size and not 0 <= target.min() <= target.max() <= 1:
            raise DataError(
                f"Accuracy: a prediction by one number takes targets of 0 and 1, got {target.min()}..{target.max()}"
            )
        return ((pred > (0 if self.from_logits else 0.5)) == (target >= 0.5)) & (pred == pred)
