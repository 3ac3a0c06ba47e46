"""AdaNorm."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend
from lunar_core.contracts.optimizer import Optimizer

from .arrays import norm, one_number
from .hyperparameters import decayed, fraction, moments, rate, shrinkage, small


class AdaNorm(Optimizer):
    """Adam whose first moment takes gradients that are lifted to the running mean of their norm when they are shorter::

        e = gamma * e + (1 - gamma) * |g|                    (one number an array)
        s = g * max(1, e / |g|)
        m = beta1 * m + (1 - beta1) * s
        v = beta2 * v + (1 - beta2) * g^2
        p = p * (1 - lr * weight_decay) - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Dubey, Singh and Chaudhuri, AdaNorm: Adaptive Gradient Norm Correction based Optimizer for CNNs (WACV 2023),
    arXiv:2210.06364, algorithm 1 (AdamNorm). ``eps`` joins sqrt(v) before the bias correction, as in the authors' code.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    gamma: float = fraction(0.95, "decay of the mean of the gradient's norm")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()

    state: ClassVar = {"m": 0.0, "v": 0.0, "e": one_number}
    elementwise = False

    @staticmethod
    def update(p, g, m, v, e, *, lr, betas, gamma, eps, weight_decay, step):
        xp = backend.of(g).xp
        p, g = decayed(p, g, lr, weight_decay, True)
        size = norm(g)
        e = gamma * e + (1 - gamma) * size
        lifted = g * xp.where(size > 0, xp.maximum(1.0, e / xp.where(size > 0, size, 1.0)), 1.0).astype(e.dtype)
        m = betas[0] * m + (1 - betas[0]) * lifted
        v = betas[1] * v + (1 - betas[1]) * g * g
        root = (xp.sqrt(v) + eps) / (1 - betas[1] ** step) ** 0.5
        return p - lr / (1 - betas[0] ** step) * m / root, m, v, e
