"""MADGRAD."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, decoupling, either_decay, fraction, rate, small


class MADGRAD(Optimizer):
    """Dual averaging with a cube root in the place of Adagrad's square root, and momentum::

        w = (lr + eps) * sqrt(t)
        s = s + w * g
        v = v + w * g^2
        z = x0 - s / (cbrt(v) + eps)                 (x0 is the parameter before the first step)
        p = momentum * p + (1 - momentum) * z

    Defazio and Jelassi, Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method (2021),
    arXiv:2101.11075, algorithm 1, as in the authors' code. Weight decay is an L2 penalty, or decoupled. With
    ``momentum = 0``, x0 is recomputed and takes no memory.
    """

    lr: float = rate(1e-2)
    momentum: float = fraction(0.9, "how much of the parameter stays at each step")
    eps: float = small(1e-6)
    weight_decay: float = either_decay()
    decoupled_weight_decay: bool = decoupling()

    state = ("s", "v", "x0")

    @staticmethod
    def update(p, g, s, v, x0, *, lr, momentum, eps, weight_decay, decoupled_weight_decay, step):
        if momentum:
            if step == 1:
                x0 = p
            start = x0
        else:
            start = p + s / (np.cbrt(v) + eps)
        lr = lr + eps
        if not decoupled_weight_decay:
            p, g = decayed(p, g, lr, weight_decay, False)
        weight = lr * np.sqrt(step)
        s, v = s + weight * g, v + weight * g * g
        z = start - s / (np.cbrt(v) + eps)
        moved = momentum * p + (1 - momentum) * z if momentum else z
        if decoupled_weight_decay:
            moved = moved - lr * weight_decay * p
        return moved, s, v, x0
