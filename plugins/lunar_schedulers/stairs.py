"""Values that change at given positions."""

from __future__ import annotations

import math
from bisect import bisect_right

from lunar_core.component import field, non_negative, one_of
from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import HyperparameterError


class MultiStep(Scheduler):
    """Multiplied by ``factor`` at each of the ``milestones``: ``base * factor ** (milestones <= position)``.

    PyTorch's ``MultiStepLR``. They may come in any order; one that is given twice counts twice. The default is the
    schedule of He et al. (2015) for ImageNet in epochs.
    """

    milestones: tuple[float, ...] = field(default=(30, 60, 90), validator=non_negative, doc="positions of the steps")
    factor: float = field(default=0.1, validator=non_negative, doc="what is left after each")

    def value(self, position: float, base: float) -> float:
        return base * self.factor ** sum(m <= position for m in self.milestones)


class Piecewise(Scheduler):
    """Through given points: at position ``positions[i]`` the value is ``shares[i]`` times the base.

    ``between="constant"`` keeps each until the next (TensorFlow's ``PiecewiseConstantDecay``); "linear" and "cosine"
    join them (optax's ``piecewise_interpolate_schedule``). Before the first point it is the first share, after the last
    the last.

    Raises HyperparameterError for positions that do not increase, or not as many shares.
    """

    positions: tuple[float, ...] = field(default=(0.0,), validator=non_negative, doc="increasing positions")
    shares: tuple[float, ...] = field(default=(1.0,), doc="the value there, as a multiple of the base")
    between: str = field(default="constant", validator=one_of("constant", "linear", "cosine"))

    def __attrs_post_init__(self) -> None:
        if not self.positions or len(self.positions) != len(self.shares):
            raise HyperparameterError(
                f"Piecewise: shares must be as many as positions, at least one, got {len(self.shares)} for "
                f"{len(self.positions)}"
            )
        if any(a >= b for a, b in zip(self.positions, self.positions[1:])):
            raise HyperparameterError(f"Piecewise: positions must increase, got {self.positions!r}")
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        i = bisect_right(self.positions, position)
        if i == 0 or i == len(self.positions) or self.between == "constant":
            return base * self.shares[max(0, i - 1)]
        left, right = self.positions[i - 1], self.positions[i]
        progress = (position - left) / (right - left)
        if self.between == "cosine":
            progress = 0.5 * (1.0 - math.cos(math.pi * progress))
        return base * (self.shares[i - 1] + (self.shares[i] - self.shares[i - 1]) * progress)
