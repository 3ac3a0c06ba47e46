"""Gradient centralization."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, positive

from .wrapper import GradientWrapper


class GradientCentralization(GradientWrapper):
    """Take the mean from the gradient of each unit: over all axes but the first, of arrays of two axes and more.

    Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks (ECCV 2020),
    arXiv:2004.01461, equation 1, for weights of shape (out, in, ...). Biases and other vectors are left alone.
    """

    least_axes: int = field(default=2, validator=positive, doc="arrays of fewer axes are left alone; 4: kernels only")

    def process(self, p: Any, g: Any) -> Any:
        if g.ndim < max(self.least_axes, 2):
            return g
        return g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
