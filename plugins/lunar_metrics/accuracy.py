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

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        hits = self._hits(pred, target)
        if weight is None:
            correct, total = hits.sum(), hits.size
        else:
            if weight.shape != hits.shape:
                weight = weight.reshape(weight.shape + (1,) * (hits.ndim - weight.ndim))
            if weight.ndim != hits.ndim or any(w not in (1, n) for w, n in zip(weight.shape, hits.shape)):
                raise DataError(f"Accuracy: weights of shape {weight.shape} do not fit predictions {hits.shape}")
            # In float64, as a sum over a data set must not depend on how it is cut into batches.
            weights = backend.of(hits).xp.broadcast_to(weight.astype(np.float64), hits.shape)
            correct, total = weights[hits].sum(), weights.sum()
        self.correct = self.correct + correct
        self.total = self.total + total

    def result(self) -> float:
        total = float(self.total)
        if not total > 0:
            raise DataError(f"Accuracy: the weights sum to {total}")
        return float(self.correct) / total

    def _hits(self, pred: Any, target: Any) -> Any:
        """Which predictions are right, one boolean each."""
        if pred.ndim > 1 and not -pred.ndim <= self.axis < pred.ndim:
            raise DataError(f"Accuracy: pred of shape {pred.shape} has no axis {self.axis}")
        axis = self.axis % pred.ndim if pred.ndim > 1 else None
        if axis is None or pred.shape[axis] == 1:
            return self._binary_hits(pred, target, axis)

        xp = backend.of(pred).xp
        classes, places = pred.shape[axis], pred.shape[:axis] + pred.shape[axis + 1 :]
        if target.shape == pred.shape:
            target = target.argmax(axis)
        elif target.shape != places:
            raise DataError(
                f"Accuracy: predictions {pred.shape} with the classes along axis {axis} take class indices {places} or "
                f"one-hot targets {pred.shape}, got {target.shape}"
            )
        elif target.dtype.kind not in "iub":
            raise DataError(f"Accuracy: class indices are integers, got {target.dtype} of shape {target.shape}")
        elif isinstance(target, np.ndarray) and target.size and not 0 <= target.min() <= target.max() < classes:
            raise DataError(
                f"Accuracy: class indices lie in 0..{classes - 1}, got {int(target.min())}..{int(target.max())}"
            )
        predicted = pred.argmax(axis)
        # argmax takes a NaN for the largest, so the winning score tells whether there was one.
        score = xp.take_along_axis(pred, xp.expand_dims(predicted, axis), axis).squeeze(axis)
        return (predicted == target) & (score == score)

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
