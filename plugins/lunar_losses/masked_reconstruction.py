"""The loss of masked autoencoders."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target, one_each, several

_EPSILON = 1e-6  # the reference code's, added to a patch's variance


class MaskedReconstruction(Loss):
    """The mean squared error of the patches that were hidden from a masked autoencoder.

    ``pred`` is ``(patches, mask)``: reconstructions (N, L, P), and a mask (N, L) that is 1 where a patch was hidden and
    0 where it was seen; ``target`` (N, L, P) are the true patches. A patch's loss is its mean over P; losses are (N, L),
    weighed by the mask. With ``normalize`` each true patch is shifted to mean 0 and scaled to variance 1 first.

    K. He et al., Masked Autoencoders Are Scalable Vision Learners (2021), arXiv:2111.06377, section 3. ``normalize`` is
    its better variant, with the sample variance of the reference code (``norm_pix_loss``). The name ``mae`` is the mean
    absolute error's.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that do not fit.
    """

    normalize: bool = field(default=True, doc="reconstruct patches of mean 0 and variance 1")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        patches, mask = several("MaskedReconstruction", pred, "patches", "mask")
        target = matching_target("MaskedReconstruction", patches, target)
        mask = one_each("MaskedReconstruction's mask", patches.shape[:-1], patches, mask)
        if self.normalize:
            centred = target - ops.mean(target, axis=-1, keepdims=True)
            target = centred / ops.sqrt(ops.var(target, axis=-1, keepdims=True, correction=1) + _EPSILON)
        return ops.mean(ops.square(patches - target), axis=-1) * mask, mask
