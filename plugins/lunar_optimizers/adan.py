"""Adan."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import moments, rate, small


class Adan(Optimizer):
    """Nesterov momentum from differences of gradients, with Adam's scaling::

        d = g - previous g                           (0 at the first step)
        m = beta1 * m + (1 - beta1) * g
        u = beta2 * u + (1 - beta2) * d
        v = beta3 * v + (1 - beta3) * (g + beta2 * d)^2
        p = (p - lr * (m_hat + beta2 * u_hat) / (sqrt(v_hat) + eps)) / (1 + lr * weight_decay)

    Xie et al., Adan: Adaptive Nesterov Momentum Algorithm (2022), arXiv:2208.06677, algorithm 1, with the bias
    correction of the authors' code and its reading of the betas (the paper's are 1 - beta). optax weighs the
    difference by 1 - beta2 instead.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float, float] = moments(0.98, 0.92, 0.99, doc="decay of gradients, differences and squares")
    eps: float = small(1e-8)
    weight_decay: float = field(default=0.0, validator=non_negative, doc="proximal: p / (1 + lr * weight_decay)")

    state = ("m", "u", "v", "previous")

    @staticmethod
    def update(p, g, m, u, v, previous, *, lr, betas, eps, weight_decay, step):
        beta1, beta2, beta3 = betas
        d = 0.0 * g if step == 1 else g - previous
        m = beta1 * m + (1 - beta1) * g
        u = beta2 * u + (1 - beta2) * d
        ahead = g + beta2 * d
        v = beta3 * v + (1 - beta3) * ahead * ahead
        root = np.sqrt(v / (1 - beta3**step)) + eps
        p = p - lr * (m / (1 - beta1**step) + beta2 / (1 - beta2**step) * u) / root
        if weight_decay:
            p = p / (1 + lr * weight_decay)
        return p, m, u, v, g
