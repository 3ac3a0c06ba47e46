"""Adam with Nesterov momentum."""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, decoupling, either_decay, moments, rate, small


def momentum_at(step: float, beta1: float, momentum_decay: float) -> float:
    """The momentum of one step: it grows from about beta1 / 2 to beta1."""
    return beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))


@functools.lru_cache(maxsize=64)
def _products(beta1: float, momentum_decay: float) -> list[float]:
    return [1.0]


def momentum_product(step: int, betas: tuple[float, float], momentum_decay: float) -> float:
    """The product of the momenta of the steps 1 to ``step``."""
    known = _products(betas[0], momentum_decay)
    while len(known) <= step:
        known.append(known[-1] * momentum_at(len(known), betas[0], momentum_decay))
    return known[step]


class NAdam(Optimizer):
    """Adam whose first moment looks one step ahead, as Nesterov's momentum does::

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        m_hat = mu(t+1) * m / (1 - mu(1) ... mu(t+1)) + (1 - mu(t)) * g / (1 - mu(1) ... mu(t))
        p = p - lr * m_hat / (sqrt(v / (1 - beta2^t)) + eps)

    Dozat, Incorporating Nesterov Momentum into Adam (ICLR workshop 2016), algorithm 2 with the momentum schedule of
    its section 3, in the variant of ``torch.optim.NAdam`` (the exponent's factor is ``momentum_decay``, 0.004). The
    product of the momenta is that of the current ``betas`` and ``momentum_decay``.
    """

    lr: float = rate(2e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-8)
    momentum_decay: float = field(default=4e-3, validator=non_negative, doc="how fast the momentum reaches beta1")
    weight_decay: float = either_decay()
    decoupled_weight_decay: bool = decoupling()

    state = ("m", "v")
    numbers: ClassVar = {"product": momentum_product}

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, momentum_decay, weight_decay, decoupled_weight_decay, step, product):
        p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
        mu, ahead = momentum_at(step, betas[0], momentum_decay), momentum_at(step + 1, betas[0], momentum_decay)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        towards = (lr * ahead / (1 - product * ahead)) * m + (lr * (1 - mu) / (1 - product)) * g
        return p - towards / (np.sqrt(v / (1 - betas[1] ** step)) + eps), m, v
