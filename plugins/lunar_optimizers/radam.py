"""Rectified Adam."""

from __future__ import annotations

import numpy as np

from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, decoupling, either_decay, moments, rate, small


class RAdam(Optimizer):
    """Adam that goes without its second moment until that moment's variance is bounded, and rectifies it afterwards::

        rho = 2 / (1 - beta2) - 1;  rho_t = rho - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
        p = p - lr * m_hat * r / (sqrt(v_hat) + eps)   if rho_t > 5, else   p - lr * m_hat

    Liu et al., On the Variance of the Adaptive Learning Rate and Beyond (ICLR 2020), arXiv:1908.03265, algorithm 2,
    in the variant of ``torch.optim.RAdam``: the threshold is 5 where the paper has 4, and ``eps`` joins sqrt(v) before
    the bias correction.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-8)
    weight_decay: float = either_decay()
    decoupled_weight_decay: bool = decoupling()

    state = ("m", "v")

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, decoupled_weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, decoupled_weight_decay)
        beta1, beta2 = betas
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        return p - rectified(m, v, lr, betas, eps, step), m, v


def rectified(m, v, lr, betas, eps, step):
    """The rectified Adam step from the two moments."""
    beta1, beta2 = betas
    lr = lr / (1 - beta1**step)
    left = 1 - beta2**step
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * step * beta2**step / left
    if rho_t > 5:
        r = np.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        return (lr * r * np.sqrt(left)) * m / (np.sqrt(v) + eps)
    return lr * m
