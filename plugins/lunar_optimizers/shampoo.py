"""Shampoo."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import nothing
from .axes import along, gram, matrix_axes, pack, unpack
from .hyperparameters import decayed, fraction, penalty, rate


def inverse_root(matrix, power):
    """``matrix ** (-1 / power)`` of a symmetric positive definite matrix."""
    xp = backend.of(matrix).xp
    values, vectors = xp.linalg.eigh(matrix)
    floor = float(np.finfo(matrix.dtype).eps) * values[-1]
    return (vectors * xp.maximum(values, floor) ** (-1.0 / power)) @ vectors.T


class Shampoo(Optimizer):
    """The gradient, preconditioned along each axis by what gradients correlated to so far::

        H_i = H_i + gram matrix of g along axis i                    (starts as eps * identity)
        u = g with H_i^(-1 / (2 k)) applied along each of its k axes
        m = momentum * m + u
        p = p - lr * m

    Gupta, Koren and Singer, Shampoo: Preconditioned Stochastic Tensor Optimization (ICML 2018), arXiv:1802.09568,
    algorithm 2, with momentum of the preconditioned gradient and an L2 penalty. Roots are taken every ``every`` steps.
    An axis longer than ``max_size`` is left alone and does not count. There is no grafting.
    """

    lr: float = rate(0.1)
    momentum: float = fraction(0.0, "how much of the velocity stays")
    eps: float = field(default=1e-6, validator=positive, doc="the statistics' start, times the identity")
    every: int = field(default=1, validator=positive, doc="steps between two computations of the roots")
    max_size: int = field(default=4096, validator=positive, doc="longest axis that is preconditioned")
    weight_decay: float = penalty()

    state: ClassVar = {"m": 0.0, "statistics": nothing, "roots": nothing}
    elementwise = False

    @staticmethod
    def update(p, g, m, statistics, roots, *, lr, momentum, eps, every, max_size, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        axes = matrix_axes(g.shape, max_size)
        sums = [h + gram(g, axis) for h, axis in zip(unpack(statistics, g.shape, axes), axes)]
        if step == 1:
            sums = [h + eps * backend.of(h).xp.eye(len(h), dtype=h.dtype) for h in sums]
        if step == 1 or step % every == 0:
            roots = pack([inverse_root(h, 2 * len(axes)) for h in sums], g)
        u = g
        for root, axis in zip(unpack(roots, g.shape, axes), axes):
            u = along(u, root, axis)
        m = momentum * m + u
        return p - lr * m, m, pack(sums, g), roots
