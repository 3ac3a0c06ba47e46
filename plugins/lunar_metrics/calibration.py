"""How far confidence is from frequency."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import host, log_softmax, spread
from .labels import checked_indices, class_axis, class_targets


class CalibrationError(Metric):
    """Distance between confidence and accuracy over equal-width bins of confidence (the expected calibration error).

    ``norm="l1"`` (ECE, default) is the mean of ``|accuracy - confidence|`` over bins, weighted by their size; ``"l2"`` the
    root of the weighted mean square; ``"max"`` (MCE) the largest. Bins are open below and closed above.

    Several classes: ``pred`` (N, C, ...) and class indices or one-hot targets; confidence is the largest probability,
    accuracy whether its class is right. One number per prediction: ``pred`` (N,) or (N, 1) and targets 0 and 1;
    confidence is the probability of class 1, accuracy how often it is class 1. ``pred`` holds logits, or with
    ``from_logits=False`` probabilities. A prediction with a NaN in it makes the value NaN.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, equations 3 to 5.

    Raises:
        DataError: shapes that do not fit, probabilities outside of [0, 1] (host arrays), or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = False
    totals: ClassVar[dict[str, Any]] = {"confidence": 0, "right": 0, "weight": 0, "invalid": 0}

    bins: int = field(default=15, validator=positive, doc="number of bins of confidence")
    norm: str = field(default="l1", validator=one_of("l1", "l2", "max"), doc="mean, root mean square or maximum")
    axis: int = field(default=1, kw_only=True, doc="the axis of pred that holds the classes")
    from_logits: bool = field(default=True, kw_only=True, doc="pred holds logits rather than probabilities")
    ignore_index: int | None = field(default=-100, kw_only=True, doc="class index that is not counted")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        xp = backend.of(pred).xp
        at = class_axis("CalibrationError", pred, self.axis)
        if at is None or pred.shape[at] == 1:
            confidence, right, counted, valid = self._positive(xp, pred, target, at)
        else:
            truth, counted, valid = class_targets("CalibrationError", target, tuple(pred.shape), at, self.ignore_index)
            p = xp.exp(log_softmax(pred, at)) if self.from_logits else pred.astype(np.float64)
            confidence, right = p.max(axis=at), pred.argmax(at) == truth
        if isinstance(confidence, np.ndarray) and ((confidence < 0) | (confidence > 1 + 1e-6)).any():
            raise DataError(
                f"CalibrationError: probabilities lie in [0, 1], got {confidence.min():g}..{confidence.max():g}",
                hint=None if self.from_logits else "logits need from_logits=True",
            )
        weight = spread("CalibrationError", weight, tuple(right.shape))
        weight = xp.ones(right.shape) if weight is None else weight
        for use in (counted, valid):
            if use is not None:
                weight = weight * use
        edges = xp.linspace(0.0, 1.0, self.bins + 1)[1:-1]
        confidence, weight = confidence.reshape(-1), weight.reshape(-1)
        place = xp.searchsorted(edges, confidence)  # a confidence on an edge belongs to the bin below
        for name, values in (
            ("confidence", confidence * weight),
            ("right", right.reshape(-1) * weight),
            ("weight", weight),
        ):
            setattr(self, name, getattr(self, name) + xp.bincount(place, values, minlength=self.bins))
        if valid is not None:
            self.invalid = self.invalid + (~valid).sum()

    def _positive(self, xp: Any, pred: Any, target: Any, at: int | None) -> tuple[Any, Any, Any, Any]:
        if at is not None:
            pred = pred.squeeze(at)
        if target.ndim == pred.ndim + 1 and target.shape[-1] == 1:
            target = target.squeeze(-1)
        if target.shape != pred.shape:
            raise DataError(
                f"CalibrationError: predictions {tuple(pred.shape)} take targets of that shape, got {tuple(target.shape)}"
            )
        p = pred.astype(np.float64)
        if self.from_logits:
            p = xp.where(p >= 0, 1.0, xp.exp(-abs(p))) / (1 + xp.exp(-abs(p)))
        if target.dtype.kind in "iub":
            truth, counted, valid = checked_indices("CalibrationError", target, 2, self.ignore_index)
            return p, truth, counted, valid
        return p, target >= 0.5, None, None

    def result(self) -> float:
        if int(self.invalid):
            raise DataError(f"CalibrationError: {int(self.invalid)} targets lie outside of the classes")
        confidence, right, weight = host(self.confidence), host(self.right), host(self.weight)
        total = weight.sum()
        if not total > 0:
            raise DataError(f"CalibrationError: the weights of the predictions sum to {total:g}")
        used = weight > 0
        gap = np.abs(right[used] - confidence[used]) / weight[used]
        share = weight[used] / total
        if self.norm == "max":
            return float(gap.max())
        return float(share @ gap) if self.norm == "l1" else float(np.sqrt(share @ gap**2))
