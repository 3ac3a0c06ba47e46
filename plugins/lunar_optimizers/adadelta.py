"""Adadelta."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, fraction, penalty, rate, small


class Adadelta(Optimizer):
    """Steps in the parameter's own units: the ratio of the running sizes of steps and gradients::

        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        p = p - lr * d

    Zeiler, ADADELTA: An Adaptive Learning Rate Method (2012), arXiv:1212.5701, algorithm 1, with the step size of
    ``torch.optim.Adadelta``, 1 as in the paper. Weight decay is an L2 penalty.
    """

    lr: float = rate(1.0)
    rho: float = fraction(0.9, "decay of both mean squares")
    eps: float = small(1e-6, "added inside of both roots")
    weight_decay: float = penalty()

    state = ("v", "u")

    @staticmethod
    def update(p, g, v, u, *, lr, rho, eps, weight_decay):
        p, g = decayed(p, g, lr, weight_decay, False)
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        return p - lr * d, v, u
