"""LaProp."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class LaProp(Optimizer):
    """Adam with the order exchanged: the gradient is normalised first, and the momentum is that of the result::

        v = beta2 * v + (1 - beta2) * g^2
        m = beta1 * m + (1 - beta1) * g / (sqrt(v / (1 - beta2^t)) + eps)
        p = (p - lr * m / (1 - beta1^t)) * (1 - lr * weight_decay)

    Ziyin, Wang and Ueda, LaProp: Separating Momentum and Adaptivity in Adam (2020), arXiv:2002.04839, algorithm 1, with
    the authors' default ``eps`` and their decoupled weight decay, which comes after the step. The learning rate is not
    part of the momentum, so a changed rate acts at once.
    """

    lr: float = rate(4e-4)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-15)
    weight_decay: float = shrinkage()

    state = ("m", "v")

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, step):
        v = betas[1] * v + (1 - betas[1]) * g * g
        m = betas[0] * m + (1 - betas[0]) * g / (np.sqrt(v / (1 - betas[1] ** step)) + eps)
        p, g = decayed(p - lr / (1 - betas[0] ** step) * m, g, lr, weight_decay, True)
        return p, m, v
