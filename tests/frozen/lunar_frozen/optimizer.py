"""The FrozenOptimizer optimizer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer


class FrozenOptimizer(Optimizer):
    """Steps of one size along the sign of the momentum, ``p - lr (sign(m) + weight_decay p)``.

    Source: Bernstein et al. 2018, arXiv:1802.04434 (Signum), with decoupled weight decay.
    """

    state: ClassVar[tuple[str, ...]] = ("m",)

    lr: float = field(default=1e-3, validator=non_negative, doc="size of every step")
    beta: float = field(default=0.9, validator=in_range(0, 1, include_high=False), doc="decay of the momentum")
    weight_decay: float = field(default=0.0, validator=non_negative, doc="decoupled decay, scaled by lr")

    @staticmethod
    def update(p: Any, g: Any, m: Any, *, lr: float, beta: float, weight_decay: float) -> tuple[Any, Any]:
        m = beta * m + (1 - beta) * g
        return p - lr * (np.sign(m) + weight_decay * p), m
