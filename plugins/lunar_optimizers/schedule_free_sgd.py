"""Schedule-free SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunar_core.component import field, in_range

from .hyperparameters import decayed, penalty, rate
from .schedule_free import ScheduleFree, blended


class ScheduleFreeSGD(ScheduleFree):
    """Stochastic gradient descent whose averaging replaces both momentum and the schedule of the learning rate.

    The base step is ``z = z - lr * (g + weight_decay * y)``; see
    :class:`~lunar_optimizers.schedule_free.ScheduleFree` for x and y, for ``opt.eval()`` before evaluation, and for
    the source, arXiv:2405.15682 (algorithm 1 and the authors' ``SGDScheduleFree``). Learning rates are larger than
    SGD's, often 1 or above, and there is no schedule to add.
    """

    lr: float = rate(1.0)
    momentum: float = field(
        default=0.9,
        validator=in_range(0, 1, include_low=False, include_high=False),
        doc="place of y between z and x",
    )
    weight_decay: float = penalty()

    @staticmethod
    def interpolation(values: Mapping[str, Any]) -> float:
        return values["momentum"]

    @staticmethod
    def update(p, g, z, *, momentum, weight_decay, rate, blend, step):
        if step == 1:
            z = p + z  # the state starts at zero
        p, g = decayed(p, g, rate, weight_decay, False)
        return blended(p, z, g, rate, blend, momentum)
