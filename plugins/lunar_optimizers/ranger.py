"""Ranger."""

from __future__ import annotations

from lunar_core.component import field, in_range, positive
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small
from .radam import rectified


class Ranger(Optimizer):
    """Rectified Adam on centralised gradients, with slow weights that follow every ``k`` steps (Lookahead)::

        g = g - mean(g)                          (over all axes but the first, for arrays of two axes and more)
        p = p * (1 - lr * weight_decay), then the step of RAdam
        every k steps:  slow = slow + alpha * (p - slow);  p = slow

    Wright, Ranger: a synergistic optimizer (2019), version of 2020 with gradient centralization, of: RAdam
    (arXiv:1908.03265), Lookahead (arXiv:1907.08610) and gradient centralization (arXiv:2004.01461). While the variance
    is not bounded yet, the step is the momentum's; decay is decoupled.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.95, 0.999)
    eps: float = small(1e-5)
    weight_decay: float = shrinkage()
    k: int = field(default=6, validator=positive, doc="steps between two of the slow weights")
    alpha: float = field(default=0.5, validator=in_range(0, 1), doc="how far the slow weights go")
    centralize: bool = field(default=True, doc="take the mean from gradients of two axes and more")

    state = ("m", "v", "slow")
    elementwise = False

    @staticmethod
    def update(p, g, m, v, slow, *, lr, betas, eps, weight_decay, k, alpha, centralize, step):
        if step == 1:
            slow = p.copy()
        if centralize and g.ndim > 1:
            g = g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
        p, g = decayed(p, g, lr, weight_decay, True)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - rectified(m, v, lr, betas, eps, step)
        if step % k == 0:
            p = slow = slow + alpha * (p - slow)
        return p, m, v, slow
