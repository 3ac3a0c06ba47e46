"""Adaptive gradient clipping."""

from __future__ import annotations

from lunar_core.component import field, positive
from lunar_gradient_processors.clipping import AdaptiveClip

from .wrapper import GradientWrapper


class AdaptiveGradientClipping(GradientWrapper):
    """Bound the gradient of each unit in proportion to the norm of its weights::

        g = g * min(1, clip * max(|p|, eps) / |g|)           (norms over all axes but the first; whole for vectors)

    Brock et al., High-Performance Large-Scale Image Recognition Without Normalization (2021), arXiv:2102.06171,
    equation 3, for weights of shape (out, in, ...). The paper leaves the final layer out: ``skip`` are the glob
    patterns of names that stay. The gradient processor :class:`~lunar_gradient_processors.clipping.AdaptiveClip`, for
    loops without a Trainer.
    """

    clip: float = field(default=0.01, validator=positive, doc="largest norm of a gradient per norm of the weights")
    eps: float = field(default=1e-3, validator=positive, doc="least norm that weights count as")
    skip: tuple[str, ...] = field(default=(), doc="globs over names that are left alone")

    def processor(self) -> AdaptiveClip:
        return AdaptiveClip(ratio=self.clip, eps=self.eps, skip=self.skip)
