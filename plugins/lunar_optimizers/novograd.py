"""NovoGrad."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .arrays import one_number
from .hyperparameters import moments, rate, small


class NovoGrad(Optimizer):
    """Momentum of gradients that are normalised array by array::

        v = beta2 * v + (1 - beta2) * |g|^2          (one number an array; |g|^2 at the first step)
        m = beta1 * m + g / (sqrt(v) + eps) + weight_decay * p
        p = p - lr * m

    Ginsburg et al., Stochastic Gradient Methods with Layer-wise Adaptive Moments (2019), arXiv:1905.11286, algorithm 1
    with its defaults; the same as optax's, whose betas are (0.9, 0.25).
    """

    lr: float = rate(1e-2)
    betas: tuple[float, float] = moments(0.95, 0.98)
    eps: float = small(1e-8)
    weight_decay: float = field(default=0.0, validator=non_negative, doc="weight of the parameter in the momentum")

    state: ClassVar = {"m": 0.0, "v": one_number}
    elementwise = False

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, step):
        xp = backend.of(g).xp
        size = (g * g).sum()
        v = size + 0.0 * v if step == 1 else betas[1] * v + (1 - betas[1]) * size
        m = betas[0] * m + g / (xp.sqrt(v) + eps) + weight_decay * p
        return p - lr * m, m, v
