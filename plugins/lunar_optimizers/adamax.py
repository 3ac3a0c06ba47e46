"""Adam with the infinity norm."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, penalty, rate, small


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the second moment::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1^t) * m / u

    Kingma and Ba, Adam: A Method for Stochastic Optimization (2014), arXiv:1412.6980, algorithm 2. ``eps`` is added to
    the gradient's size, as in ``torch.optim.Adamax``. Weight decay is an L2 penalty.
    """

    lr: float = rate(2e-3)
    betas: tuple[float, float] = moments(0.9, 0.999, doc="decay of the first moment and of the largest gradient")
    eps: float = small(1e-8, "added to the size of the gradient")
    weight_decay: float = penalty()

    state = ("m", "u")

    @staticmethod
    def update(p, g, m, u, *, lr, betas, eps, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, np.abs(g) + eps)
        return p - lr / (1 - betas[0] ** step) * m / u, m, u
