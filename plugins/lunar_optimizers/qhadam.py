"""Quasi-hyperbolic Adam."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, in_range
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, moments, penalty, rate, small


class QHAdam(Optimizer):
    """Adam that mixes each of its moments with the gradient at hand::

        p = p - lr * ((1 - nu1) * g + nu1 * m_hat) / (sqrt((1 - nu2) * g^2 + nu2 * v_hat) + eps)

    Ma and Yarats, Quasi-hyperbolic Momentum and Adam for Deep Learning (ICLR 2019), arXiv:1810.06801, algorithm 2, with
    the defaults that section 6 recommends. ``nus = (1, 1)`` is Adam, ``nus = (beta1, 1)`` NAdam without its schedule,
    ``nus = (0, 1)`` RMSprop with a bias correction. Weight decay is an L2 penalty.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.995, 0.999)
    nus: tuple[float, float] = field(default=(0.7, 1.0), validator=in_range(0, 1), doc="weight of the two moments")
    eps: float = small(1e-8)
    weight_decay: float = penalty()

    state = ("m", "v")

    @staticmethod
    def update(p, g, m, v, *, lr, betas, nus, eps, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        squared = g * g
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * squared
        towards = (1 - nus[0]) * g + nus[0] / (1 - betas[0] ** step) * m
        size = (1 - nus[1]) * squared + nus[1] / (1 - betas[1] ** step) * v
        return p - lr * towards / (np.sqrt(size) + eps), m, v
