"""The loss of SimCLR."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, same_shapes, several, unit


class NTXent(Loss):
    """Find the other view of the same sample among all views of the batch: cross-entropy of cosines / temperature::

        -log(exp(s[i, j] / T) / sum over k != i of exp(s[i, k] / T)),   j the other view of i, s the cosine

    ``pred`` is a pair ``(first, second)`` of embeddings (N, D), two views of N samples; there is no target, and one that
    is given is not looked at. Losses are (N, 2), one for each view, and the mean is over all of them. Each depends on
    the whole batch: a batch that is cut in parts gives another value.

    T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020), arXiv:2002.05709,
    equation 1.

    Raises:
        ShapeError: a prediction that is no pair of matrices of one shape.
    """

    temperature: float = field(default=0.5, validator=positive, doc="what cosines are divided by")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        first, second = several("NTXent", pred, "first", "second")
        same_shapes("NTXent", first=first, second=second)
        if first.ndim != 2:
            raise ShapeError(f"NTXent expects embeddings (N, D), got {tuple(first.shape)}")
        n = len(first)
        z = unit(ops.concat([first, second], axis=0))
        likeness = (z @ z.T) / self.temperature
        likeness = ops.where(constant(first, np.eye(2 * n, dtype=bool)), -float("inf"), likeness)
        losses = ops.cross_entropy(likeness, constant(first, np.roll(np.arange(2 * n), n)), ignore_index=None)
        return losses.reshape(2, n).T, None
