"""Warm-ups."""

from __future__ import annotations

import math

from lunar_core.component import field, in_range, one_of, positive
from lunar_core.contracts.scheduler import Scheduler


class Warmup(Scheduler):
    """Up over the first ``positions``; then nothing moves. Chained before another schedule it is its warm-up.

    - ``mode="linear"``: from ``start`` times the base in a straight line to the base.
    - ``mode="exponential"``: ``base * (1 - exp(-(position + 1) / positions))``, which approaches the base and never
      quite gets there. Ma and Yarats, On the Adequacy of Untuned Warmup for Adaptive Optimization (2019),
      arXiv:1910.04209, section 5; the paper's untuned choice for Adam is ``positions = 1 / (1 - beta2)``.
    - ``mode="gradual"``: from the base itself in a straight line to ``multiplier`` times it, where it stays. Goyal et
      al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour (2017), arXiv:1706.02677, section 2.2: the base is
      the rate of one worker and the multiplier the number of workers.
    """

    positions: int = field(default=1000, validator=positive, doc="how long it takes")
    mode: str = field(default="linear", validator=one_of("linear", "exponential", "gradual"))
    start: float = field(default=0.0, validator=in_range(0, 1), doc="linear: share of the base at position 0")
    multiplier: float = field(default=8.0, validator=positive, doc="gradual: the value at the end over the base")

    def value(self, position: float, base: float) -> float:
        if self.mode == "exponential":
            return base * -math.expm1(-(position + 1.0) / self.positions)
        x = min(1.0, position / self.positions)
        low, high = (1.0, self.multiplier) if self.mode == "gradual" else (self.start, 1.0)
        return base * (low + (high - low) * x)
