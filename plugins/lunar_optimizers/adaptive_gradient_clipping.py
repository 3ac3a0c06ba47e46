"""Adaptive gradient clipping."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, positive

from .wrapper import GradientWrapper


class AdaptiveGradientClipping(GradientWrapper):
    """Bound the gradient of each unit in proportion to the norm of its weights::

        g = g * min(1, clip * max(|p|, eps) / |g|)           (norms over all axes but the first; whole for vectors)

    Brock et al., High-Performance Large-Scale Image Recognition Without Normalization (2021), arXiv:2102.06171,
    equation 3, for weights of shape (out, in, ...). The paper leaves the final layer out: train that by another part
    of :class:`~lunar_optimizers.hybrid.Hybrid`.
    """

    clip: float = field(default=0.01, validator=positive, doc="largest norm of a gradient per norm of the weights")
    eps: float = field(default=1e-3, validator=positive, doc="least norm that weights count as")

    def process(self, p: Any, g: Any) -> Any:
        axes = tuple(range(1, g.ndim)) if g.ndim > 1 else None
        bound = self.clip * np.maximum(np.sqrt(np.sum(p * p, axis=axes, keepdims=True)), self.eps)
        size = np.sqrt(np.sum(g * g, axis=axes, keepdims=True))
        return np.where(size > bound, g * (bound / np.maximum(size, 1e-6)), g)
