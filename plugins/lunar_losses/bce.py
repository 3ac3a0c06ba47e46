"""Binary cross-entropy of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.contracts.loss import Loss
from lunar_core.errors import DataError
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target, raw


class BCE(Loss):
    """``-(t * log(p) + (1 - t) * log(1 - p))`` for probabilities ``p``; the mean over all elements.

    Shapes: ``pred`` (N, ...) are probabilities, ``target`` has their shape, with values in [0, 1]. A logarithm is at
    least -100, so that a loss at ``p`` 0 or 1 is finite, and its gradient is too. This is ``torch.nn.BCELoss``, these
    bounds included. A model that ends without a sigmoid is trained by
    :class:`~lunar_losses.bce_with_logits.BCEWithLogits`, which keeps its digits where this one has lost them.

    Raises:
        ShapeError: a target of another shape.
        DataError: predictions on the host that are no probabilities.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("BCE", pred, target)
        p = raw(pred)
        if isinstance(p, np.ndarray) and p.size and not (p.min() >= 0 and p.max() <= 1):
            raise DataError(
                f"BCE expects probabilities in [0, 1], got values from {float(p.min()):g} to {float(p.max()):g}",
                hint="BCEWithLogits takes what a model gives without a sigmoid",
            )
        return ops.binary_cross_entropy(pred, target), None
