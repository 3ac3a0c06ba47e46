"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's variant of it and coupled weight decay::

        g = g + weight_decay * p
        m = momentum * m + (1 - dampening) * g        (m = g at the first update)
        p = p - lr * m                                (Nesterov: p - lr * (g + momentum * m))

    The variant is PyTorch's ``torch.optim.SGD``: the learning rate multiplies the velocity when it is applied
    (Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013, section 2, keeps
    it in the velocity), and weight decay is an L2 penalty in the gradient. With ``momentum=0`` there is no velocity,
    in memory either.

    Raises HyperparameterError for Nesterov momentum without momentum or with dampening.
    """

    lr: float = field(default=1e-3, validator=non_negative, doc="step size")
    momentum: float = field(default=0.0, validator=non_negative, doc="how much of the velocity stays; 0.9 is usual")
    dampening: float = field(default=0.0, doc="how much of the gradient is kept out of the velocity")
    weight_decay: float = field(default=0.0, validator=non_negative, doc="L2 penalty, added to the gradient")
    nesterov: bool = field(default=False, doc="look ahead along the velocity")

    state = ("m",)

    def __attrs_post_init__(self) -> None:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise HyperparameterError(
                f"SGD: nesterov needs momentum > 0 and dampening 0, got {self.momentum:g} and {self.dampening:g}",
                hint="SGD(params, lr=0.1, momentum=0.9, nesterov=True)",
            )
        super().__attrs_post_init__()

    @staticmethod
    def update(p, g, m, *, lr, momentum, dampening, weight_decay, nesterov, step):
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            m = np.where(step == 1, g, momentum * m + (1 - dampening) * g) if dampening else momentum * m + g
            g = g + momentum * m if nesterov else m
        return p - lr * g, m
