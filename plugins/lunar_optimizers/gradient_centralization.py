"""Gradient centralization."""

from __future__ import annotations

from lunar_gradient_processors.shaping import Centralize

from .wrapper import GradientWrapper


class GradientCentralization(GradientWrapper):
    """Take the mean from the gradient of each unit: over all axes but the first, of arrays of two axes and more.

    Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks (ECCV 2020),
    arXiv:2004.01461, equation 1, for weights of shape (out, in, ...). Biases and other vectors are left alone. The
    gradient processor :class:`~lunar_gradient_processors.shaping.Centralize`, for loops without a Trainer.
    """

    def processor(self) -> Centralize:
        return Centralize()
