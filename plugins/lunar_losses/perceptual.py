"""The perceptual loss."""

from __future__ import annotations

from typing import Any

import lunar_core as lc
from lunar_core import ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class Perceptual(Loss):
    """How unlike two images are to a network: the mean squared difference of its features, and of their Gram matrices.

    Shapes: ``pred`` and ``target`` (N, C, H, W); losses (N,), one a sample. ``features`` is a module or a function from
    images to a feature map (N, C', ...) or to several; it is best frozen and in evaluation mode, since gradients pass
    through it to ``pred``, and would reach its weights. A sample's loss is the sum over the maps of::

        content * mean((f - g) ** 2) + style * sum((G(f) - G(g)) ** 2),   G[a, b] = sum over positions f[a] f[b] / (C' H' W')

    J. Johnson et al., Perceptual Losses for Real-Time Style Transfer (2016), arXiv:1603.08155, equations 2 to 4.

    Raises:
        HyperparameterError: features that cannot be called.
        ShapeError: a target of another shape, or features that are no maps of N samples.
    """

    features: Any = field(doc="module or function from images to one or several feature maps")
    content: float = field(default=1.0, validator=non_negative, doc="weight of the features' difference")
    style: float = field(default=0.0, validator=non_negative, doc="weight of their Gram matrices' difference")

    def __attrs_post_init__(self) -> None:
        if not callable(self.features):
            raise HyperparameterError(f"Perceptual: features must be a module or a function, got {self.features!r}")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target("Perceptual", pred, target)
        seen = self._maps(pred)
        with lc.no_grad():
            wanted = self._maps(lc.as_tensor(target))
        total: Any = 0.0
        for f, g in zip(seen, wanted):
            if f.ndim < 2 or len(f) != len(pred):
                raise ShapeError(
                    f"Perceptual expects features (N, C, ...) of {len(pred)} samples, got {tuple(f.shape)}"
                )
            f, g = f.reshape(len(f), f.shape[1], -1), g.reshape(len(g), g.shape[1], -1)
            if self.content:
                total = total + self.content * ops.mean(ops.square(f - g), axis=(1, 2))
            if self.style:
                total = total + self.style * ops.sum(ops.square(_gram(f) - _gram(g)), axis=(1, 2))
        return total if isinstance(total, Tensor) else ops.sum(pred * 0.0, axis=tuple(range(1, pred.ndim))), None

    def _maps(self, x: Any) -> Any:
        found = self.features(x)
        return found if isinstance(found, (tuple, list)) else (found,)


def _gram(f: Any) -> Any:
    return (f @ ops.swapaxes(f, 1, 2)) / (f.shape[1] * f.shape[2])
