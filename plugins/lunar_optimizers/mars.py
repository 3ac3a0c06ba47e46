"""MARS."""

from __future__ import annotations

from lunar_core import backend
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .arrays import norm
from .hyperparameters import decayed, moments, rate, shrinkage, small


class MARS(Optimizer):
    """AdamW on gradients whose variance is reduced by the difference to the gradient before::

        c = g + gamma * beta1 / (1 - beta1) * (g - previous g)               (previous is 0 at the first step)
        c = c / max(1, |c|)                                                  (array by array)
        m = beta1 * m + (1 - beta1) * c
        v = beta2 * v + (1 - beta2) * c^2
        p = p * (1 - lr * weight_decay) - lr * (m / (1 - beta1^t)) / ((sqrt(v) + eps) / sqrt(1 - beta2^t))

    Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models (2024), arXiv:2411.10438,
    algorithm 2 in the approximate form of MARS-AdamW, for which the gradient before was taken at another batch. The
    authors' code gives arrays of fewer than two axes to plain AdamW, which is ``gamma = 0`` and no clipping; here all
    arrays follow the rule.
    """

    lr: float = rate(3e-3)
    betas: tuple[float, float] = moments(0.95, 0.99)
    gamma: float = field(default=0.025, validator=non_negative, doc="strength of the variance reduction")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()

    state = ("m", "v", "previous")
    elementwise = False

    @staticmethod
    def update(p, g, m, v, previous, *, lr, betas, gamma, eps, weight_decay, step):
        xp = backend.of(g).xp
        p, g = decayed(p, g, lr, weight_decay, True)
        c = g + gamma * betas[0] / (1 - betas[0]) * (g - previous)
        c = c / xp.maximum(1.0, norm(c))
        m = betas[0] * m + (1 - betas[0]) * c
        v = betas[1] * v + (1 - betas[1]) * c * c
        root = (xp.sqrt(v) + eps) / (1 - betas[1] ** step) ** 0.5
        return p - lr / (1 - betas[0] ** step) * m / root, m, v, g.copy()
