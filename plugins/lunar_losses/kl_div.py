"""Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class KLDiv(Loss):
    """``KL(target || prediction) = sum over axis of t * (log t - pred)``; ``pred`` are log-probabilities.

    Shapes: ``pred`` (N, C, ...) holds logarithms of probabilities with the classes on ``axis``; ``target`` has their
    shape: probabilities, or their logarithms with ``log_target``. Classes of probability 0 count nothing. One loss a
    sample and position, over which the mean is taken, so that for (N, C) the mean is ``torch.nn.KLDivLoss`` with
    ``reduction="batchmean"``. With ``axis=None`` each term t * (log t - pred) is an element of its own, as in PyTorch's
    "mean", "sum" and "none". S. Kullback and R. A. Leibler, On Information and Sufficiency (1951).

    Raises:
        ShapeError: a target of another shape.
    """

    log_target: bool = field(default=False, doc="whether targets are logarithms too")
    axis: int | None = field(default=1, doc="axis of the distributions; None keeps each term as an element")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("KLDiv", pred, target)
        if self.log_target:
            losses = ops.exp(target) * (finite_log(target) - ops.where(target == -float("inf"), 0.0, pred))
        else:
            some = target > 0
            losses = target * (ops.log(ops.where(some, target, 1.0)) - ops.where(some, pred, 0.0))
        return (losses if self.axis is None else ops.sum(losses, axis=self.axis if pred.ndim > 1 else 0)), None


def finite_log(x: Any) -> Any:
    """Log-probabilities with 0 for those of probability 0, which count nothing where they are multiplied by it."""
    return ops.where(x == -float("inf"), 0.0, x)
