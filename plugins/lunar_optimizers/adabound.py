"""AdaBound."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class AdaBound(Optimizer):
    """Adam whose step sizes are held between two bounds that close in on ``final_lr``, so that it ends as SGD::

        low = final_lr * (1 - 1 / (gamma * t + 1));  high = final_lr * (1 + 1 / (gamma * t))
        p = p * (1 - lr * weight_decay)
        p = p - clip(lr * sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps), low, high) * m

    Luo et al., Adaptive Gradient Methods with Dynamic Bound of Learning Rate (ICLR 2019), arXiv:1902.09843,
    algorithm 2, as in the authors' code; ``amsgrad`` is their AMSBound. ``final_lr`` is taken as it is: a schedule of
    ``lr`` does not move it, bind one to ``final_lr`` for that. Weight decay is decoupled.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    final_lr: float = field(default=0.1, validator=positive, doc="the step size of SGD that it ends with")
    gamma: float = field(default=1e-3, validator=positive, doc="how fast the bounds close")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()
    amsgrad: bool = field(default=False, doc="divide by the largest second moment so far")

    state = ("m", "v", "v_max")

    @staticmethod
    def update(p, g, m, v, v_max, *, lr, betas, final_lr, gamma, eps, weight_decay, amsgrad, step):
        p, g = decayed(p, g, lr, weight_decay, True)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        if amsgrad:
            v_max = np.maximum(v_max, v)
        size = lr * np.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step)
        low, high = final_lr * (1 - 1 / (gamma * step + 1)), final_lr * (1 + 1 / (gamma * step))
        return p - np.clip(size / (np.sqrt(v_max if amsgrad else v) + eps), low, high) * m, m, v, v_max
