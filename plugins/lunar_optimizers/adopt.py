"""ADOPT."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, decoupling, either_decay, moments, rate, small


class ADOPT(Optimizer):
    """Adam that divides each gradient by the second moment of those before it, which converges with any beta2::

        m = beta1 * m + (1 - beta1) * clip(g / max(sqrt(v), eps), (t - 1)^(1/4))
        p = p - lr * m
        v = beta2 * v + (1 - beta2) * g^2            (the first step sets v = g^2 and changes nothing else)

    Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate (NeurIPS 2024),
    arXiv:2411.02853, algorithm 2, in the clipped version of the authors' code; ``clip=False`` is the paper's first
    version. Weight decay is an L2 penalty, or decoupled.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.9999)
    eps: float = small(1e-6, "least size of the denominator")
    clip: bool = field(default=True, doc="bound the normalised gradient by the fourth root of the count of updates")
    weight_decay: float = either_decay()
    decoupled_weight_decay: bool = decoupling()

    state = ("m", "v")

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, clip, weight_decay, decoupled_weight_decay, step):
        before = p
        p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
        if step == 1:
            return before, m + 0.0, g * g
        normed = g / np.maximum(np.sqrt(v), eps)
        if clip:
            bound = (step - 1) ** 0.25
            normed = np.clip(normed, -bound, bound)
        m = betas[0] * m + (1 - betas[0]) * normed
        return p - lr * m, m, betas[1] * v + (1 - betas[1]) * g * g
