"""Loss: a sum and a weight.

A loss gives the loss of each element and the weight of each; everything else follows. ``terms`` is (sum, weight), which
accumulation, evaluation and data-parallel reduction add up, so that no mean of means arises; calling the loss gives the
mean that a training loop differentiates.

``pred`` is what the model gave: a tensor, or a tuple of them for a loss that compares several, such as the two
embeddings of a pair. ``target`` is what it should be, ``None`` for a loss that needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..backend import is_array
from ..component import Component, field, one_of
from ..errors import ShapeError
from ..fusion import is_half
from ..ops.elementwise import where
from ..tensor import Tensor, as_tensor


class Loss(Component):
    """Base of losses: write ``elements(pred, target)``.

    ``reduction`` is what a call gives: ``"mean"`` (over the total weight), ``"sum"`` or ``"none"`` (each element's).

    ``weight``, which every loss takes, gives each sample's weight, or each position's: its shape is the first axes of
    the losses'. A boolean one is a mask: what it leaves out counts as 0 in sum and weight, whatever stands there, NaN
    included.
    """

    kind: ClassVar[str] = "loss"

    reduction: str = field(
        default="mean", validator=one_of("mean", "sum", "none"), kw_only=True, doc="mean, sum or none"
    )

    #: Of a loss that is a sum of named ones, those of the last call: name -> (sum, weight). Each is logged.
    parts: ClassVar[Mapping[str, tuple[Tensor, float]]] = {}

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        """(losses, weights): the loss of each element, already weighted, and the weights that the mean divides by.

        Weights are ``None`` where each element counts 1, else an array that broadcasts to the losses.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no elements()")

    def _weighted(self, pred: Any, target: Any, weight: Any) -> tuple[Tensor, Any]:
        losses, weights = self.elements(_tensors(pred), target)
        if weight is None:
            return losses, weights
        w = weight.data if isinstance(weight, Tensor) else weight if is_array(weight) else np.asarray(weight)
        if w.ndim > losses.ndim or w.shape != losses.shape[: w.ndim]:
            raise ShapeError(
                f"{type(self).__name__}: sample weights of shape {w.shape} do not fit losses of shape {losses.shape}"
            )
        w = w.reshape(w.shape + (1,) * (losses.ndim - w.ndim))
        if w.dtype.kind == "b":
            losses = where(w, losses, 0.0)
            w = w.astype(losses.dtype)
        else:
            w = w.astype(losses.dtype, copy=False)
            losses = losses * w
        return losses, w if weights is None else weights * w

    def terms(self, pred: Any, target: Any = None, weight: Any = None) -> tuple[Tensor, float]:
        """(sum of the losses, total weight); ``weight`` gives each sample's, default 1.

        The sum of losses in half precision is float32: it would soon be infinite.
        """
        losses, weights = self._weighted(pred, target, weight)
        if is_half(losses.dtype):
            losses = losses.astype(np.float32)
        return losses.sum(), _total(losses, weights)

    def __call__(self, pred: Any, target: Any = None, weight: Any = None) -> Tensor:
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


def _tensors(pred: Any) -> Any:
    """``pred`` as a tensor; as a tuple or dict of them where it holds several."""
    if isinstance(pred, Tensor):
        return pred
    if isinstance(pred, Mapping):
        return {key: _tensors(value) for key, value in pred.items()}
    if isinstance(pred, (tuple, list)) and any(isinstance(part, Tensor) or is_array(part) for part in pred):
        return tuple(map(_tensors, pred))
    return as_tensor(pred)


def _total(losses: Tensor, weights: Any) -> float:
    if weights is None:
        return float(losses.size)
    raw = weights.data if isinstance(weights, Tensor) else weights
    # in float64: a float32 sum of ones stands still at 2 ** 24
    return float(raw.sum(dtype=np.float64)) * (losses.size / raw.size if raw.size else 0.0)
