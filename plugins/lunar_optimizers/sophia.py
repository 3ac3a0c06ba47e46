"""Sophia."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, positive

from .hyperparameters import decayed, moments, rate, shrinkage
from .second_order import SecondOrder


class Sophia(SecondOrder):
    """Momentum divided by a running Hessian diagonal, element by element, and clipped: Newton where that is safe::

        m = beta1 * m + (1 - beta1) * g
        h = beta2 * h + (1 - beta2) * D                 (every ``every`` steps)
        p = p * (1 - lr * weight_decay) - lr * clip(m / max(gamma * h, eps), -rho, rho)

    Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training (2023),
    arXiv:2305.14342, algorithm 3 with the Hutchinson estimator of algorithm 1 (Sophia-H); the paper's clip is 1 with
    gamma about 0.01, which is ``rho = 1, gamma = 0.01`` here. See
    :class:`~lunar_optimizers.second_order.SecondOrder` for the closure that ``step`` needs, ``every`` and ``samples``.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.96, 0.99, doc="decay of the momentum and of the Hessian")
    gamma: float = field(default=0.01, validator=positive, doc="factor of the Hessian")
    rho: float = field(default=1.0, validator=positive, doc="largest step per unit of lr")
    eps: float = field(default=1e-12, validator=positive, doc="least size of the divisor")
    weight_decay: float = shrinkage()
    every: int = field(default=10, validator=positive, kw_only=True, doc="steps between two estimates of the Hessian")

    state = ("hessian", "m", "h")

    @staticmethod
    def update(p, g, hessian, m, h, *, lr, betas, gamma, rho, eps, weight_decay, fresh):
        p, g = decayed(p, g, lr, weight_decay, True)
        m = betas[0] * m + (1 - betas[0]) * g
        if fresh:
            h = betas[1] * h + (1 - betas[1]) * hessian
        return p - lr * np.clip(m / np.maximum(gamma * h, eps), -rho, rho), hessian, m, h
