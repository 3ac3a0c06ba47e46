"""Loss: a sum and a weight.

A loss gives the loss of each element and the weight of each; everything else follows. ``terms`` is (sum, weight), which
accumulation, evaluation and data-parallel reduction add up, so that no mean of means arises; calling the loss gives the
mean that a training loop differentiates.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..backend import is_array
from ..component import Component, field, one_of
from ..errors import ShapeError
from ..tensor import Tensor, as_tensor


class Loss(Component):
    """Base of losses: write ``elements(pred, target)``.

    ``reduction`` is what a call gives: ``"mean"`` (over the total weight), ``"sum"`` or ``"none"`` (each element's).
    """

    kind: ClassVar[str] = "loss"

    reduction: str = field(
        default="mean", validator=one_of("mean", "sum", "none"), kw_only=True, doc="mean, sum or none"
    )

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        """(losses, weights): the loss of each element, already weighted, and the weights that the mean divides by.

        Weights are ``None`` where each element counts 1, else an array that broadcasts to the losses.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no elements()")

    def _weighted(self, pred: Any, target: Any, weight: Any) -> tuple[Tensor, Any]:
        losses, weights = self.elements(as_tensor(pred), target)
        if weight is None:
            return losses, weights
        w = weight.data if isinstance(weight, Tensor) else weight if is_array(weight) else np.asarray(weight)
        if w.ndim > losses.ndim or w.shape != losses.shape[: w.ndim]:
            raise ShapeError(
                f"{type(self).__name__}: sample weights of shape {w.shape} do not fit losses of shape {losses.shape}"
            )
        w = w.astype(losses.dtype, copy=False).reshape(w.shape + (1,) * (losses.ndim - w.ndim))
        return losses * w, w if weights is None else weights * w

    def terms(self, pred: Any, target: Any, weight: Any = None) -> tuple[Tensor, float]:
        """(sum of the losses, total weight); ``weight`` gives each sample's, default 1."""
        losses, weights = self._weighted(pred, target, weight)
        return losses.sum(), _total(losses, weights)

    def __call__(self, pred: Any, target: Any, weight: Any = None) -> Tensor:
        """The loss reduced as ``reduction`` says."""
        if type(self).elements is Loss.elements and self.reduction != "none":  # the class says its terms only
            total, size = self.terms(pred, target, weight)
            return total if self.reduction == "sum" else total / size
        losses, weights = self._weighted(pred, target, weight)
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        if weights is None:
            return losses.mean()
        raw = weights.data if isinstance(weights, Tensor) else weights
        if isinstance(raw, np.ndarray):
            return losses.sum() / _total(losses, weights)
        return losses.sum() / (raw.sum() * (losses.size / raw.size))  # stays on the device: nobody waits for a number


def _total(losses: Tensor, weights: Any) -> float:
    if weights is None:
        return float(losses.size)
    raw = weights.data if isinstance(weights, Tensor) else weights
    return float(raw.sum()) * (losses.size / raw.size)
