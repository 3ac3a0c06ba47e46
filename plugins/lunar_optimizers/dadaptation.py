"""D-Adaptation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer

from .entries import evaluated, ready, state_of
from .hyperparameters import decayed, moments, rate, shrinkage, small


class DAdaptation(Optimizer):
    """Adam that finds its own step size: d, a lower bound of the distance to the solution, grows while steps agree::

        r = b * r + (1 - b) * d * lr * <g, s / (sqrt(v) + eps)>              (over all parameters, b = sqrt(beta2))
        m = beta1 * m + (1 - beta1) * d * lr * g;  v = beta2 * v + (1 - beta2) * g^2
        s = b * s + (1 - b) * d * lr * g
        p = p * (1 - d * lr * weight_decay) - m / (sqrt(v) + eps)
        d = max(d, r / ((1 - b) * |s|_1))

    Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation (ICML 2023), arXiv:2301.07733, algorithm 5
    (Adam), in the variant of optax's ``dadapt_adamw``: ``lr`` is multiplied by Adam's bias correction,
    sqrt(1 - beta2^t) / (1 - beta1^t), and weight decay is decoupled. Leave ``lr`` at 1, with a schedule that does not
    exceed it. The bound is the attribute ``d``, one for all groups.
    """

    lr: float = rate(1.0, "factor of the step size that is found")
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-8)
    d0: float = field(default=1e-6, validator=positive, doc="first bound of the distance")
    weight_decay: float = shrinkage()
    d: float = field(default=0.0, init=False, config=False, doc="the bound so far")
    r: float = field(default=0.0, init=False, config=False, doc="numerator of the bound")
    count: int = field(default=0, init=False, config=False, doc="steps so far")
    rate: float = field(default=0.0, init=False, config=False, doc="d * lr with bias correction, at this step")

    state = ("m", "v", "s")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        first = self.groups[0].values
        d = first["d"] or first["d0"]
        count = first["count"] + 1
        b = first["betas"][1] ** 0.5
        for group in self.groups:
            beta1, beta2 = group.values["betas"]
            correction = (1 - beta2**count) ** 0.5 / (1 - beta1**count)
            group.values.update(count=count, rate=d * group.values["lr"] * correction)
        agreed = size = 0.0
        for place in ready(self):
            values, g, xp = place.group.values, place.gradient, place.buffer.xp
            s, v = state_of(self, place, "s"), state_of(self, place, "v")
            agreed += values["rate"] * float((g * xp.where(s == 0, s, s / (xp.sqrt(v) + values["eps"]))).sum())
            s[...] = b * s + (1 - b) * values["rate"] * g
            size += float(abs(s).sum())
        r = b * first["r"] + (1 - b) * agreed
        if size:
            d = max(d, r / ((1 - b) * size))
        for group in self.groups:
            group.values.update(d=d, r=r)
        super().step()
        return loss

    @staticmethod
    def update(p, g, m, v, s, *, betas, eps, weight_decay, rate):
        m = betas[0] * m + (1 - betas[0]) * rate * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p, g = decayed(p, g, rate, weight_decay, True)
        return p - m / (np.sqrt(v) + eps), m, v, s
