"""Total variation."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor


class TotalVariation(Loss):
    """The sum of what neighbouring pixels differ by, ``|down| + |right|``: how rough an image is.

    Shapes: ``pred`` (N, C, H, W), losses (N,), one a sample, summed over channels and positions. There is no target, and
    one that is given is not looked at. With ``isotropic`` it is the sum of ``sqrt(down ** 2 + right ** 2 + eps)`` over all
    pixels that have both neighbours.

    L. Rudin et al., Nonlinear total variation based noise removal algorithms (1992); by default the anisotropic form of
    ``tf.image.total_variation``.

    Raises:
        ShapeError: what is no images.
    """

    isotropic: bool = field(default=False, doc="measure by the length of the gradient")
    eps: float = field(default=1e-8, validator=positive, doc="added under the root, so that its slope at 0 is finite")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        if pred.ndim != 4:
            raise ShapeError(f"TotalVariation expects images (N, C, H, W), got {tuple(pred.shape)}")
        down, right = pred[:, :, 1:] - pred[:, :, :-1], pred[:, :, :, 1:] - pred[:, :, :, :-1]
        if self.isotropic:
            down, right = down[:, :, :, :-1], right[:, :, :-1]
            return ops.sum(ops.sqrt(down * down + right * right + self.eps), axis=(1, 2, 3)), None
        return ops.sum(ops.abs(down), axis=(1, 2, 3)) + ops.sum(ops.abs(right), axis=(1, 2, 3)), None
