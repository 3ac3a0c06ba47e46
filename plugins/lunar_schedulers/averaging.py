"""Towards the rate of weight averaging."""

from __future__ import annotations

import math

from lunar_core.component import field, non_negative, one_of
from lunar_core.contracts.scheduler import Scheduler


class SwaLR(Scheduler):
    """From the base value to ``swa_lr`` over ``anneal`` positions from ``start`` on, and then constant.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (2018), arXiv:1803.05407, section
    3.2, in its constant variant. PyTorch's ``SWALR`` in closed form: ``strategy`` is "cos" (default) or "linear", and
    ``anneal = 0`` jumps at once. ``swa_lr`` is a value and not a share, and the same for every group.
    """

    swa_lr: float = field(default=0.05, validator=non_negative, doc="the value during averaging")
    anneal: int = field(default=10, validator=non_negative, doc="positions of the way there")
    strategy: str = field(default="cos", validator=one_of("cos", "linear"))
    start: float = field(default=0.0, validator=non_negative, doc="position where it begins")

    def value(self, position: float, base: float) -> float:
        if position < self.start:
            return base
        x = 1.0 if self.anneal == 0 else min(1.0, (position - self.start) / self.anneal)
        alpha = x if self.strategy == "linear" else 0.5 * (1.0 - math.cos(math.pi * x))
        return self.swa_lr * alpha + base * (1.0 - alpha)
