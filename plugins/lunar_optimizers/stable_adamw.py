"""StableAdamW."""

from __future__ import annotations

import numpy as np

from lunar_core import backend
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class StableAdamW(Optimizer):
    """AdamW whose step size falls, array by array, where gradients are larger than their second moment expects::

        b = beta * (1 - beta^(t-1)) / (1 - beta^t)              (for both betas; this is the bias correction)
        m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2
        eta = lr / max(1, sqrt(mean(g^2 / max(v, eps^2))))
        p = p * (1 - eta * weight_decay) - eta * m / (sqrt(v) + eps)

    Wortsman et al., Stable and low-precision training for large-scale vision-language models (NeurIPS 2023),
    arXiv:2304.13013, algorithm 2. It stands in for gradient clipping.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.99)
    eps: float = small(1e-8)
    weight_decay: float = shrinkage(1e-2)

    state = ("m", "v")
    elementwise = False

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, step):
        xp = backend.of(g).xp
        b1, b2 = (beta * (1 - beta ** (step - 1)) / (1 - beta**step) for beta in betas)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        unexpected = xp.sqrt((g * g / xp.maximum(v, max(eps * eps, float(np.finfo(g.dtype).tiny)))).mean())
        eta = lr / xp.maximum(1.0, unexpected)
        p, g = decayed(p, g, eta, weight_decay, True)
        return p - eta * m / (xp.sqrt(v) + eps), m, v
