"""Distribution focal loss."""

from __future__ import annotations

from typing import Any

from lunar_core import backend, ops
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import one_each


class DFL(Loss):
    """Cross-entropy with the two grid points next to a real target: ``(i + 1 - y) * CE_i + (y - i) * CE_{i+1}``.

    Shapes: ``pred`` (..., n + 1) are logits of a distribution over the points 0..n, ``target`` (...) real numbers in
    [0, n], in units of the grid (what is outside counts as the end); losses (...), over which the mean is taken. Its
    least value is the entropy of the target's two shares, reached where the distribution's mean is the target.

    X. Li et al., Generalized Focal Loss (2020), arXiv:2006.04388, equation 6; the box regression of YOLOv8.

    Raises:
        ShapeError: fewer than two points, or a target that does not fit.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        if not pred.ndim or pred.shape[-1] < 2:
            raise ShapeError(f"DFL expects logits (..., n + 1) over at least two points, got {tuple(pred.shape)}")
        y = one_each("DFL", pred.shape[:-1], pred, target)
        xp, last = backend.of(y).xp, pred.shape[-1] - 1
        y = xp.clip(y, 0, last)
        left = xp.minimum(xp.floor(y), last - 1)
        index = left.astype("int64")
        low = ops.cross_entropy(pred, index, axis=-1, ignore_index=None)
        high = ops.cross_entropy(pred, index + 1, axis=-1, ignore_index=None)
        return low * (left + 1 - y) + high * (y - left), None
