"""AdaBelief."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class AdaBelief(Optimizer):
    """Adam that divides by how far gradients are from their own mean: large steps where they come as expected::

        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m)^2 + eps
        p = p * (1 - lr * weight_decay) - lr * (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)

    Zhuang et al., AdaBelief Optimizer (NeurIPS 2020), arXiv:2010.07468, algorithm 2 (``eps`` joins s at every step, as
    there), with decoupled weight decay as in the authors' code and without their optional rectification.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-16, "added to the second moment and to the denominator")
    weight_decay: float = shrinkage()

    state = ("m", "s")

    @staticmethod
    def update(p, g, m, s, *, lr, betas, eps, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, True)
        m = betas[0] * m + (1 - betas[0]) * g
        surprise = g - m
        s = betas[1] * s + (1 - betas[1]) * surprise * surprise + eps
        root = np.sqrt(s / (1 - betas[1] ** step)) + eps
        return p - lr / (1 - betas[0] ** step) * m / root, m, s
