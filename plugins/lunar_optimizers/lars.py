"""LARS."""

from __future__ import annotations

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .arrays import trust_ratio
from .hyperparameters import decayed, fraction, penalty, rate


class LARS(Optimizer):
    """Momentum SGD in which each array's step has a size in proportion to the norm of the parameter::

        u = g + weight_decay * p
        m = momentum * m + lr * (trust_coefficient * |p| / |u|) * u          (ratio 1 where a norm is 0)
        p = p - m                                                            (Nesterov: a look ahead along m)

    You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks (2017), arXiv:1708.03888, algorithm 1. As
    in optax, the denominator is the norm of the sum where the paper has |g| + weight_decay * |p|. Biases and
    norms' parameters usually go without: ``overrides={"*.bias": {"trust_coefficient": 0.0, "weight_decay": 0.0}}``,
    where 0 switches the ratio off.
    """

    lr: float = rate(0.1)
    momentum: float = fraction(0.9, "how much of the velocity stays")
    weight_decay: float = penalty()
    trust_coefficient: float = field(default=1e-3, validator=non_negative, doc="share of |p| in a step; 0: no ratio")
    nesterov: bool = field(default=False, doc="look ahead along the velocity")

    state = ("m",)
    elementwise = False

    @staticmethod
    def update(p, g, m, *, lr, momentum, weight_decay, trust_coefficient, nesterov):
        p, g = decayed(p, g, lr, weight_decay, False)
        if trust_coefficient:
            g = trust_ratio(p, g, trust_coefficient) * g
        m = momentum * m + lr * g
        return p - (momentum * m + lr * g if nesterov else m), m
