"""Small optimizers, parameters and gradients that the optimizer tests share."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

import lunar_core as lc
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer


class Momentum(Optimizer):
    """As in the contract's docstring, with a branch on a number and a count."""

    lr: float = field(default=0.1, validator=non_negative)
    beta: float = field(default=0.9, validator=in_range(0, 1))
    decay: float = field(default=0.0, validator=non_negative)
    state: ClassVar = ("m",)

    @staticmethod
    def update(p, g, m, *, lr, beta, decay, step):
        if decay:
            p = p * (1 - lr * decay)
        if beta:
            m = beta * m + g
            return p - lr / step * m, m
        return p - lr / step * g, m


def reference(p, g, m, step, lr=0.1, beta=0.9, decay=0.0):
    """One update of Momentum on plain arrays."""
    return Momentum.update(p, g, m, lr=lr, beta=beta, decay=decay, step=step)


def parameters(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [lc.Parameter(np.asarray(rng.normal(size=s)).astype(dtype)) for s in shapes]


def backward(params, factor=1.0):
    """Give each parameter the gradient ``factor * p``."""
    for p in params:
        (p * p).sum().backward(lc.tensor(0.5 * factor, dtype=p.dtype, device=p.device))


class Net(lc.Module):
    def __init__(self, shared=False):
        rng = np.random.default_rng(1)
        self.first = lc.Parameter(rng.normal(size=(4, 3)))
        self.bias = lc.Parameter(np.zeros(4))
        self.last = self.first if shared else lc.Parameter(rng.normal(size=(2, 4)))

    def forward(self, x):
        return ((x @ self.first.T + self.bias).tanh() * 2).sum()


def trained(steps=2):
    params = parameters((3, 2), (4,))
    opt = Momentum(params)
    for _ in range(steps):
        opt.zero_grad()
        backward(params)
        opt.step()
    return params, opt


class Whitened(Optimizer):
    """A rule that needs matrices, with state of a shape of its own."""

    lr: float = 0.1
    elementwise = False
    state: ClassVar = {"covariance": lambda p: np.eye(p.shape[0]), "m": 0.0}

    @staticmethod
    def update(p, g, covariance, m, *, lr, step):
        covariance = covariance + g @ g.T
        m = 0.5 * m + np.linalg.solve(covariance, g)
        return p - lr / step * m, covariance, m
