"""Up and down: cycles, the one cycle, the slanted triangle."""

from __future__ import annotations

import math

from lunar_core.component import field, in_range, one_of, positive
from lunar_core.contracts.scheduler import Scheduler


class Cyclic(Scheduler):
    """From the base value up to ``factor`` times it and back, again and again.

    Smith, Cyclical Learning Rates for Training Neural Networks (2015), arXiv:1506.01186. PyTorch's ``CyclicLR`` with
    ``base_lr = base`` and ``max_lr = factor * base``, whose default of 2000 positions up is kept. In cycle c (1 for the
    first) the height above the base is multiplied by

    - ``mode="triangular"``: 1;
    - ``mode="triangular2"``: ``1 / 2 ** (c - 1)``;
    - ``mode="exp_range"``: ``gamma ** position``.
    """

    factor: float = field(default=4.0, validator=positive, doc="the highest value as a multiple of the base")
    up: float = field(default=2000.0, validator=positive, doc="positions from the base to the top")
    down: float | None = field(default=None, validator=positive, doc="positions back; default: as many as up")
    mode: str = field(default="triangular", validator=one_of("triangular", "triangular2", "exp_range"))
    gamma: float = field(default=0.99994, validator=in_range(0, 1, include_low=False), doc="for exp_range")

    def value(self, position: float, base: float) -> float:
        down = self.up if self.down is None else self.down
        length = self.up + down
        cycle = math.floor(1.0 + position / length)
        x = 1.0 + position / length - cycle
        ratio = self.up / length
        height = x / ratio if x <= ratio else (x - 1.0) / (ratio - 1.0)
        scale = 1.0
        if self.mode == "triangular2":
            scale = 1.0 / 2.0 ** (cycle - 1.0)
        elif self.mode == "exp_range":
            scale = self.gamma**position
        return base + (self.factor - 1.0) * base * height * scale


class OneCycle(Scheduler):
    """Up to the base value and down to almost nothing, once.

    Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates (2017),
    arXiv:1708.07120. PyTorch's ``OneCycleLR`` with ``max_lr = base``: from ``base / div`` up over the first ``rise``
    share of the run, then down to ``base / div / final_div``; with ``three_phase`` down to ``base / div`` as long as it
    took to rise, then to the end. ``anneal`` is "cos" (default) or "linear". The position ``total - 1`` is the last, as
    there; after it the value stays.

    For the momentum that goes the other way, bind a second one to it: a momentum of 0.85 at its lowest and 0.95
    at the ends is ``OneCycle(div=0.85 / 0.95, final_div=1, attribute="momentum")`` on an optimizer that has 0.85.
    """

    total: int | None = field(default=None, validator=positive, doc="positions; default: the run's length")
    rise: float = field(default=0.3, validator=in_range(0, 1), doc="share of the run that goes up")
    div: float = field(default=25.0, validator=positive, doc="base value / first value")
    final_div: float = field(default=1e4, validator=positive, doc="first value / last value")
    anneal: str = field(default="cos", validator=one_of("cos", "linear"))
    three_phase: bool = field(default=False, doc="down symmetrically, then to the end")

    def value(self, position: float, base: float) -> float:
        total = self.length if self.total is None else self.total
        first = base / self.div
        last = first / self.final_div
        top = self.rise * total - 1.0
        points = [(0.0, first), (top, base), (total - 1.0, last)]
        if self.three_phase:
            points = [(0.0, first), (top, base), (2.0 * self.rise * total - 2.0, first), (total - 1.0, last)]
        position = min(position, max(0.0, total - 1.0))
        for (left, low), (right, high) in zip(points, points[1:]):
            if position <= right:
                share = 1.0 if right <= left else (position - left) / (right - left)
                if self.anneal == "linear":
                    return low + (high - low) * share
                return high + (low - high) / 2.0 * (1.0 + math.cos(math.pi * share))
        return last


class SlantedTriangular(Scheduler):
    """A short line up to the base value and a long one down.

    Howard and Ruder, Universal Language Model Fine-tuning for Text Classification (2018), arXiv:1801.06146,
    equation 3: ``base * (1 + p * (ratio - 1)) / ratio`` with ``cut = floor(total * rise)`` and p rising to 1 at ``cut``
    and back to 0 at the end. The defaults are the paper's.
    """

    total: int | None = field(default=None, validator=positive, doc="positions; default: the run's length")
    rise: float = field(default=0.1, validator=in_range(0, 1, include_low=False, include_high=False), doc="cut_frac")
    ratio: float = field(default=32.0, validator=positive, doc="highest value / lowest value")

    def value(self, position: float, base: float) -> float:
        total = self.length if self.total is None else self.total
        cut = max(1, math.floor(total * self.rise))
        if position < cut:
            p = position / cut
        else:
            p = max(0.0, 1.0 - (position - cut) / (cut * (1.0 / self.rise - 1.0)))
        return base * (1.0 + p * (self.ratio - 1.0)) / self.ratio
