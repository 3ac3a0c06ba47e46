"""Lion."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage


class Lion(Optimizer):
    """Steps of one size, in the direction of the sign of an interpolated momentum::

        c = sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
        p = p * (1 - lr * weight_decay) - lr * c

    Chen et al., Symbolic Discovery of Optimization Algorithms (2023), arXiv:2302.06675, algorithm 2, with its defaults.
    The paper advises a learning rate 3 to 10 times smaller than AdamW's and a weight decay as much larger.
    """

    lr: float = rate(1e-4)
    betas: tuple[float, float] = moments(0.9, 0.99, doc="weight of the momentum in the step, and its decay")
    weight_decay: float = shrinkage()

    state = ("m",)

    @staticmethod
    def update(p, g, m, *, lr, betas, weight_decay):
        p, g = decayed(p, g, lr, weight_decay, True)
        c = np.sign(betas[0] * m + (1 - betas[0]) * g)
        return p - lr * c, betas[1] * m + (1 - betas[1]) * g
