"""The multi-label hinge loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.contracts.loss import Loss
from lunar_core.errors import DTypeError, IndexingError, ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import beside, constant, raw


class MultilabelMargin(Loss):
    """``sum over present j and absent i of max(0, 1 - pred[j] + pred[i]) / C``: every label ahead of every other class.

    Shapes: ``pred`` (N, C) scores; ``target`` (N, C) integers, a row of the labels that are present, filled up with -1
    (what comes after the first -1 does not count). The mean is over samples. This is
    ``torch.nn.MultiLabelMarginLoss``.

    Raises:
        ShapeError: scores that are no matrix, or a target of another shape.
        DTypeError: labels that are no integers.
        IndexingError: a label out of range.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        labels = raw(beside(pred, target))
        if pred.ndim != 2 or tuple(labels.shape) != tuple(pred.shape):
            raise ShapeError(
                f"MultilabelMargin expects scores (N, C) and labels of their shape, got {tuple(pred.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if labels.dtype.kind not in "iu":
            raise DTypeError(f"MultilabelMargin: labels must be integers, got {labels.dtype}")
        classes = pred.shape[1]
        listed = (labels < 0).cumsum(axis=1) == 0
        if backend.of(labels).xp is np and (labels[listed] >= classes).any():
            raise IndexingError(f"MultilabelMargin: label {int(labels[listed].max())} is out of range for {classes}")
        every = constant(pred, np.arange(classes))
        hits = (labels[:, :, None] == every) & listed[:, :, None]  # (N, place in the list, C)
        present = hits.any(axis=1)
        pairs = present[:, :, None] & ~present[:, None, :]
        missed = ops.relu(1.0 - ops.expand_dims(pred, 2) + ops.expand_dims(pred, 1))
        return ops.sum(ops.where(pairs, missed, 0.0), axis=(1, 2)) / classes, None
