"""Prodigy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer

from .entries import evaluated, ready, state_of
from .hyperparameters import decayed, moments, rate, shrinkage, small


class Prodigy(Optimizer):
    """Adam that finds its own step size: d, an estimate of the distance to the solution, grows while steps agree::

        r = beta3 * r + (d / d0) * d * lr * <g, p0 - p>                      (over all parameters)
        s = beta3 * s + (d / d0) * d * lr * g
        d' = max(d, d_coef * r / |s|_1)
        m = beta1 * m + (1 - beta1) * d * g;  v = beta2 * v + (1 - beta2) * d^2 * g^2
        p = p * (1 - d * lr * weight_decay) - d * lr * m / (sqrt(v) + d' * eps)

    Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner (2023), arXiv:2306.06101,
    algorithm 4, in the variant of optax: ``lr`` is multiplied by Adam's bias correction,
    sqrt(1 - beta2^t) / (1 - beta1^t). Leave ``lr`` at 1, with a schedule that starts and ends there at most. beta3 is
    sqrt(beta2). The estimate is the attribute ``d``, one for all groups.
    """

    lr: float = rate(1.0, "factor of the step size that is found")
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-8)
    d0: float = field(default=1e-6, validator=positive, doc="first estimate of the distance")
    d_coef: float = field(default=1.0, validator=positive, doc="factor of the estimate; smaller is more careful")
    weight_decay: float = shrinkage()
    d: float = field(default=0.0, init=False, config=False, doc="the estimate so far")
    r: float = field(default=0.0, init=False, config=False, doc="numerator of the estimate")
    count: int = field(default=0, init=False, config=False, doc="steps so far")
    rate: float = field(default=0.0, init=False, config=False, doc="d * lr with bias correction, at this step")
    before: float = field(default=0.0, init=False, config=False, doc="the estimate before this step")

    state = ("m", "v", "s", "start")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        first = self.groups[0].values
        d = first["d"] or first["d0"]
        count = first["count"] + 1
        for group in self.groups:
            beta1, beta2 = group.values["betas"]
            correction = (1 - beta2**count) ** 0.5 / (1 - beta1**count)
            group.values.update(before=d, count=count, rate=d * group.values["lr"] * correction)
        moved = size = 0.0
        for place in ready(self):
            values, g = place.group.values, place.gradient
            weight = d / first["d0"] * values["rate"]
            s, start = state_of(self, place, "s"), state_of(self, place, "start")
            if not place.updates:
                start[...] = place.entry.data
            moved += weight * float((g * (start - place.entry.data)).sum())
            s[...] = values["betas"][1] ** 0.5 * s + weight * g
            size += float(abs(s).sum())
        r = first["betas"][1] ** 0.5 * first["r"] + moved
        if size:
            d = max(d, first["d_coef"] * r / size)
        for group in self.groups:
            group.values.update(d=d, r=r)
        super().step()
        return loss

    @staticmethod
    def update(p, g, m, v, s, start, *, betas, eps, weight_decay, rate, before, d):
        m = betas[0] * m + (1 - betas[0]) * before * g
        v = betas[1] * v + (1 - betas[1]) * (before * before) * g * g
        p, g = decayed(p, g, rate, weight_decay, True)
        return p - rate * m / (np.sqrt(v) + d * eps), m, v, s, start
