"""SWATS: from Adam to SGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .adam import adam_step
from .entries import evaluated, ready, state_of
from .hyperparameters import decayed, moments, penalty, rate, small


class SWATS(Optimizer):
    """Adam that becomes SGD with momentum once the step size that SGD would have needed has settled::

        gamma = |d|^2 / -<d, g>                          (d: Adam's step of all parameters, where <d, g> < 0)
        r = beta2 * r + (1 - beta2) * gamma
        when t > 1 and |r / (1 - beta2^t) - gamma| < tolerance:  SGD with the rate r / (1 - beta2^t) from then on:
        m = beta1 * m + g;  p = p - (1 - beta1) * rate * m

    Keskar and Socher, Improving Generalization Performance by Switching from Adam to SGD (2017), arXiv:1712.07628,
    algorithm 1, over all parameters as one vector. ``lr`` goes on as a factor after the switch: what it is by then is
    rate's 1. ``switched`` tells whether it happened. Weight decay is an L2 penalty.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-9)
    tolerance: float = field(default=1e-9, validator=non_negative, doc="difference of rates that counts as settled")
    weight_decay: float = penalty()
    count: int = field(default=0, init=False, config=False, doc="steps so far")
    r: float = field(default=0.0, init=False, config=False, doc="running mean of the rates")
    switched: bool = field(default=False, init=False, config=False, doc="whether it is SGD by now")
    factor: float = field(default=0.0, init=False, config=False, doc="SGD's rate per unit of lr")

    state = ("m", "v")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        if self.groups[0].values["switched"]:
            super().step()
            return loss
        before = [(place, place.entry.data.copy()) for place in ready(self)]
        super().step()
        square = slope = 0.0
        for place, old in before:
            d = (place.entry.data - old).astype(place.buffer.state_dtype)
            square += float((d * d).sum())
            slope += float((d * (place.gradient + place.group.values["weight_decay"] * old)).sum())
        first = self.groups[0].values
        count, r, beta2 = first["count"] + 1, first["r"], first["betas"][1]
        changes: dict[str, Any] = {"count": count}
        if slope < 0:
            gamma = square / -slope
            r = changes["r"] = beta2 * r + (1 - beta2) * gamma
            settled = r / (1 - beta2**count)
            if count > 1 and abs(settled - gamma) < first["tolerance"]:
                changes["switched"] = True
                for place, _ in before:
                    state_of(self, place, "m")[...] = 0
                for group in self.groups:
                    group.values["factor"] = settled / group.values["lr"]
        for group in self.groups:
            group.values.update(changes)
        return loss

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, switched, factor, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        if switched:
            m = betas[0] * m + g
            return p - ((1 - betas[0]) * lr * factor) * m, m, v
        return adam_step(p, g, m, v, v, lr, betas, eps, False, step)[:3]
