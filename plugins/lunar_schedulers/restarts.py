"""Cosines that start anew."""

from __future__ import annotations

import math

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.scheduler import Scheduler


def cycle_at(position: float, first: float, growth: float) -> tuple[int, float, float]:
    """(number of the cycle, position in it, its length) for cycles of lengths ``first * growth ** i``."""
    if growth == 1.0:
        number = int(position // first)
        return number, position - number * first, first
    # The cycle whose start, first * (growth ** i - 1) / (growth - 1), is the last one not after the position; the
    # logarithm may be off by one at a border, which the comparison with the very starts mends.
    grown = position * (growth - 1.0) / first + 1.0

    def start(i: int) -> float:
        return first * (growth**i - 1.0) / (growth - 1.0)

    number = int(math.log(grown, growth))
    while start(number + 1) <= position:
        number += 1
    while number and start(number) > position:
        number -= 1
    return number, position - start(number), first * growth**number


class CosineRestarts(Scheduler):
    """Half cosines from the base value to ``final`` times it, each ``growth`` times as long as the one before.

    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts (2016), arXiv:1608.03983, equation 5.
    PyTorch's ``CosineAnnealingWarmRestarts`` with ``T_0 = cycle``, ``T_mult = growth`` and ``eta_min = final * base``.
    """

    cycle: float = field(default=1000.0, validator=positive, doc="positions of the first cycle")
    growth: int = field(default=1, validator=positive, doc="each cycle is this many times as long as the last")
    final: float = field(default=0.0, validator=non_negative, doc="share of the base value at the end of a cycle")

    def peak(self, number: int) -> float:
        """The share of the base value from which cycle ``number`` starts."""
        return 1.0

    def value(self, position: float, base: float) -> float:
        number, inside, length = cycle_at(position, self.cycle, float(self.growth))
        top = self.peak(number)
        return base * (self.final + (top - self.final) * 0.5 * (1.0 + math.cos(math.pi * inside / length)))


class CosineDecayedRestarts(CosineRestarts):
    """:class:`CosineRestarts` in which each cycle starts at ``decay`` times the peak of the one before.

    timm's ``CosineLRScheduler`` with ``cycle_decay = decay``, ``cycle_mul = growth`` and ``lr_min = final * base``. A
    peak is never lower than ``final``. TensorFlow's ``CosineDecayRestarts`` is this with ``m_mul = decay`` where
    ``final`` is 0.
    """

    decay: float = field(default=0.5, validator=positive, doc="each peak as a share of the one before")

    def peak(self, number: int) -> float:
        return max(self.final, self.decay**number)
