"""Yogi."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, rate, shrinkage, small


class Yogi(Optimizer):
    """Adam whose second moment moves by a bounded amount, so that it falls slowly when gradients become small::

        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g^2) * g^2
        p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Zaheer et al., Adaptive Methods for Nonconvex Optimization (NeurIPS 2018), algorithm 2. As in optax and in
    TensorFlow's version, both moments start with ``initial_accumulator_value`` and are corrected for bias; the paper
    corrects neither. Weight decay is decoupled.
    """

    lr: float = rate(1e-2)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-3)
    initial_accumulator_value: float = field(default=1e-6, validator=non_negative, doc="what both moments start with")
    weight_decay: float = shrinkage()

    state = ("m", "v")

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, initial_accumulator_value, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, True)
        if step == 1:  # the state starts at zero
            m, v = m + initial_accumulator_value, v + initial_accumulator_value
        m = betas[0] * m + (1 - betas[0]) * g
        squared = g * g
        v = v - (1 - betas[1]) * np.sign(v - squared) * squared
        root = np.sqrt(v / (1 - betas[1] ** step)) + eps
        return p - lr / (1 - betas[0] ** step) * m / root, m, v
