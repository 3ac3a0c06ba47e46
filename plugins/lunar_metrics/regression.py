"""Errors of predicted numbers: MAE, MSE, RMSE, MAPE, R2, explained variance."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, one_of
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import pair, quotient, spread, weighted_sum
from .moments import MomentMetric, moments, rows_of


class ElementMean(Metric):
    """Base of means over all elements; a subclass defines :meth:`element`.

    Shapes: ``pred`` and ``target`` alike, of any shape (N, ...), one of them with a last axis of size 1 if need be;
    ``weight`` is one number per example, (N,), or one per element. Everything is summed in float64.

    Raises:
        DataError: shapes that do not fit, or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = False
    totals: ClassVar[dict[str, Any]] = {"error": 0.0, "weight": 0.0}

    def element(self, xp: Any, pred: Any, target: Any) -> Any:
        """The error of each element."""
        raise NotImplementedError(f"{type(self).__name__} must define element")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        name = type(self).__name__
        xp = backend.of(pred).xp
        pred, target = pair(name, pred, target)
        error, total = weighted_sum(self.element(xp, pred, target), spread(name, weight, tuple(pred.shape)))
        self.error = self.error + error
        self.weight = self.weight + total

    def result(self) -> float:
        return quotient(type(self).__name__, self.error, self.weight)


class MAE(ElementMean):
    """Mean absolute error, ``mean(|pred - target|)``, over all elements; shapes and weights as in :class:`ElementMean`.

    Equals ``sklearn.metrics.mean_absolute_error``.
    """

    def element(self, xp: Any, pred: Any, target: Any) -> Any:
        return abs(pred - target)


class MSE(ElementMean):
    """Mean squared error, ``mean((pred - target)^2)``, over all elements; shapes and weights as in :class:`ElementMean`.

    Equals ``sklearn.metrics.mean_squared_error``.
    """

    def element(self, xp: Any, pred: Any, target: Any) -> Any:
        return (pred - target) ** 2


class RMSE(ElementMean):
    """Root of the mean squared error over all elements; shapes and weights as in :class:`ElementMean`.

    Equals ``sklearn.metrics.root_mean_squared_error`` for one output; for several outputs that is the mean of the roots,
    this the root of the mean.
    """

    def element(self, xp: Any, pred: Any, target: Any) -> Any:
        return (pred - target) ** 2

    def result(self) -> float:
        return math.sqrt(super().result())


class MAPE(ElementMean):
    """Mean absolute percentage error as a fraction, ``mean(|pred - target| / max(|target|, eps))``.

    Shapes and weights are as in :class:`ElementMean`; ``eps`` is float64's 2.2e-16, so a target of 0 makes it huge.
    Equals ``sklearn.metrics.mean_absolute_percentage_error``.
    """

    def element(self, xp: Any, pred: Any, target: Any) -> Any:
        return abs(pred - target) / xp.maximum(abs(target), np.finfo(np.float64).eps)


class _Explained(MomentMetric):
    """Base of one minus unexplained over total variation of each output."""

    sets: ClassVar[tuple[str, ...]] = ("error", "target")
    higher_is_better: ClassVar[bool | None] = True

    multioutput: str = field(
        default="uniform_average",
        validator=one_of("uniform_average", "variance_weighted", "raw_values"),
        doc="how the outputs' values become one",
    )

    def unexplained(self, weight: float, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """The unexplained variation of each output from the moments of the errors."""
        raise NotImplementedError(f"{type(self).__name__} must define unexplained")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        name = type(self).__name__
        pred, target = pair(name, pred, target)
        if weight is not None:
            weight = spread(name, weight, (pred.shape[0],))
        error, truth = (
            moments(rows_of(name, target - pred, "errors"), weight),
            moments(rows_of(name, target, "targets"), weight),
        )
        self.extend("error", error)
        self.extend("target", truth)

    def result(self) -> float | dict[str, float]:
        name = type(self).__name__
        weight, mean, spread = self.host_moments("error")
        if not weight > 0:
            raise DataError(f"{name}: the weights of the examples sum to {weight:g}")
        if self.seen < 2:
            raise DataError(f"{name} compares with the variance of the targets, which one example does not have")
        rest, total = self.unexplained(weight, mean, spread), self.host_moments("target").spread
        constant = total == 0
        values = np.where(constant, (rest == 0).astype(float), 1 - rest / np.where(constant, 1, total))
        if self.multioutput == "raw_values":
            return {str(i): float(value) for i, value in enumerate(values)}
        if self.multioutput == "variance_weighted" and total.any():
            return float(total @ values / total.sum())
        return float(values.mean())


class R2(_Explained):
    """Coefficient of determination, ``1 - sum((target - pred)^2) / sum((target - mean)^2)``.

    Shapes: ``pred`` and ``target`` (N,) or (N, ...), in which each place is an output with its own value;
    ``multioutput`` gives their mean ("uniform_average"), the mean weighted by the targets' variances
    ("variance_weighted"), or all of them as a dict ("raw_values"). ``weight`` is one number per example. An output with
    constant targets has 1 where it is predicted exactly and else 0.

    Equals ``sklearn.metrics.r2_score``.

    Raises:
        DataError: fewer than two examples, shapes that do not fit, or weights that sum to zero.
    """

    def unexplained(self, weight: float, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return spread + weight * mean**2


class ExplainedVariance(_Explained):
    """``1 - variance(target - pred) / variance(target)``: like R2, but a constant offset of the predictions is forgiven.

    Shapes, ``multioutput``, weights, constant targets and errors are those of :class:`R2`. Equals
    ``sklearn.metrics.explained_variance_score``.
    """

    def unexplained(self, weight: float, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return spread
