"""Schedule-free AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lunar_core.component import field, in_range, non_negative

from .hyperparameters import decayed, rate, small
from .schedule_free import ScheduleFree, blended


class ScheduleFreeAdamW(ScheduleFree):
    """AdamW without first moment, whose averaging replaces both momentum and the schedule of the learning rate.

    The base step is ``z = z - lr * (g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * y)``; see
    :class:`~lunar_optimizers.schedule_free.ScheduleFree` for x and y, for ``opt.eval()`` before evaluation, and for
    the source, arXiv:2405.15682 (algorithm 1 and the authors' ``AdamWScheduleFree``). Learning rates are 1 to 10 times
    those of AdamW with a schedule, and there is none to add.
    """

    lr: float = rate(2.5e-3)
    betas: tuple[float, float] = field(
        default=(0.9, 0.999),
        validator=in_range(0, 1, include_low=False, include_high=False),
        doc="place of y between z and x, decay of the second moment",
    )
    eps: float = small(1e-8)
    weight_decay: float = field(default=0.0, validator=non_negative, doc="share of y lost per unit of lr")

    state = ("z", "v")

    @staticmethod
    def interpolation(values: Mapping[str, Any]) -> float:
        return values["betas"][0]

    @staticmethod
    def update(p, g, z, v, *, betas, eps, weight_decay, rate, blend, step):
        if step == 1:
            z = p + z  # the state starts at zero
        v = betas[1] * v + (1 - betas[1]) * g * g
        g = g / (np.sqrt(v / (1 - betas[1] ** step)) + eps)
        p, g = decayed(p, g, rate, weight_decay, False)
        return *blended(p, z, g, rate, blend, betas[0]), v
