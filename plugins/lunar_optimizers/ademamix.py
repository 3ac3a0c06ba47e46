"""AdEMAMix."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class AdEMAMix(Optimizer):
    """AdamW with a second, very slow momentum beside the fast one::

        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = beta3 * m2 + (1 - beta3) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * ((m1 / (1 - beta1^t) + alpha * m2) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p)

    Pagliardini, Ablin and Grangier, The AdEMAMix Optimizer: Better, Faster, Older (2024), arXiv:2409.03137,
    algorithm 1. With ``warmup`` steps, alpha rises linearly from 0 and beta3 from beta1 so that the half-life of the
    slow momentum grows linearly (section 3); the paper takes all steps of the training. Without, both are constant.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float, float] = moments(0.9, 0.999, 0.9999, doc="decay of fast and second moment, slow moment")
    alpha: float = field(default=5.0, validator=non_negative, doc="weight of the slow momentum")
    warmup: int = field(default=0, validator=non_negative, doc="steps in which alpha and beta3 reach their values")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()

    state = ("m1", "m2", "v")

    @staticmethod
    def update(p, g, m1, m2, v, *, lr, betas, alpha, warmup, eps, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, True)
        beta1, beta2, beta3 = betas
        if step < warmup:
            share = step / warmup
            alpha = alpha * share
            if beta1:
                beta3 = np.exp(np.log(beta3) / ((1 - share) * np.log(beta3) / np.log(beta1) + share))
        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = beta3 * m2 + (1 - beta3) * g
        v = beta2 * v + (1 - beta2) * g * g
        root = np.sqrt(v / (1 - beta2**step)) + eps
        return p - lr * (m1 / (1 - beta1**step) + alpha * m2) / root, m1, m2, v
