"""RMSprop."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, fraction, penalty, rate, small


class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square, with optional centering and momentum::

        v = alpha * v + (1 - alpha) * g^2
        m = momentum * m + g / (sqrt(v) + eps)          (centered: sqrt(v - a^2), a the running mean of g)
        p = p - lr * m

    Tieleman and Hinton, Neural Networks for Machine Learning (2012), lecture 6.5; centered as in Graves, Generating
    Sequences with Recurrent Neural Networks (2013), arXiv:1308.0850, equations 38 to 45. The variant is
    ``torch.optim.RMSprop``: ``eps`` is outside of the root (TensorFlow has it inside) and the learning rate multiplies
    the velocity when it is applied. Weight decay is an L2 penalty.
    """

    lr: float = rate(1e-2)
    alpha: float = fraction(0.99, "decay of the mean square")
    eps: float = small(1e-8)
    weight_decay: float = penalty()
    momentum: float = field(default=0.0, validator=non_negative, doc="how much of the velocity stays")
    centered: bool = field(default=False, doc="divide by the standard deviation instead")

    state = ("v", "mean", "m")

    @staticmethod
    def update(p, g, v, mean, m, *, lr, alpha, eps, weight_decay, momentum, centered):
        p, g = decayed(p, g, lr, weight_decay, False)
        v = alpha * v + (1 - alpha) * g * g
        spread = v
        if centered:
            mean = alpha * mean + (1 - alpha) * g
            spread = v - mean * mean
        g = g / (np.sqrt(spread) + eps)
        if momentum:
            m = g = momentum * m + g
        return p - lr * g, v, mean, m
