"""Signum: the sign of the momentum."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, fraction, rate, shrinkage


class Signum(Optimizer):
    """Steps of one size, in the direction of the sign of the momentum (signSGD with ``momentum = 0``)::

        m = momentum * m + (1 - momentum) * g
        p = p * (1 - lr * weight_decay) - lr * sign(m)

    Bernstein et al., signSGD: Compressed Optimisation for Non-Convex Problems (ICML 2018), arXiv:1802.04434,
    algorithm 2 on one machine, with its decoupled weight decay.
    """

    lr: float = rate(1e-4)
    momentum: float = fraction(0.9, "decay of the momentum")
    weight_decay: float = shrinkage()

    state = ("m",)

    @staticmethod
    def update(p, g, m, *, lr, momentum, weight_decay):
        p, g = decayed(p, g, lr, weight_decay, True)
        if momentum:
            m = g = momentum * m + (1 - momentum) * g
        return p - lr * np.sign(g), m
