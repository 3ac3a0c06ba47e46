"""Adagrad."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .hyperparameters import decayed, penalty, rate, small


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares::

        s = s + g^2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, Adaptive Subgradient Methods (JMLR 2011), figure 1 with the diagonal matrix, in the
    variant of ``torch.optim.Adagrad``: ``eps`` outside of the root, a rate that may decay, and a sum that starts with
    ``initial_accumulator_value``. Weight decay is an L2 penalty.
    """

    lr: float = rate(1e-2)
    lr_decay: float = field(
        default=0.0, validator=non_negative, doc="how fast the step size falls: 1 / (1 + t lr_decay)"
    )
    weight_decay: float = penalty()
    initial_accumulator_value: float = field(default=0.0, validator=non_negative, doc="what the sum starts with")
    eps: float = small(1e-10)

    state = ("s",)

    @staticmethod
    def update(p, g, s, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        if step == 1:
            s = initial_accumulator_value + s  # the state starts at zero
        s = s + g * g
        return p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(s) + eps), s
