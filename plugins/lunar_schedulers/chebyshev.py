"""Chebyshev's step sizes in a stable order."""

from __future__ import annotations

import functools
import math

from lunar_core.component import field, positive
from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import HyperparameterError


@functools.lru_cache(maxsize=32)
def fractal_order(n: int) -> tuple[int, ...]:
    """The permutation of 1..n, n a power of two, that keeps every stretch of Chebyshev steps stable.

    ``sigma_1 = (1)``, ``sigma_2T`` interlaces ``sigma_T`` with ``2T + 1 - sigma_T`` (definition 3 of the paper).
    """
    order = (1,)
    while len(order) < n:
        both = 2 * len(order) + 1
        order = tuple(v for s in order for v in (s, both - s))
    return order


class Chebyshev(Scheduler):
    """The reciprocals of the roots of a Chebyshev polynomial, in the fractal order, again and again.

    Agarwal, Goel and Zhang, Acceleration via Fractal Learning Rate Schedules (2021), arXiv:2103.01338, definitions 1
    and 3: with curvatures between m and M, step t of ``cycle`` T is ``1 / ((M + m)/2 - (M - m)/2 cos((sigma(t) - 1/2)
    pi / T))``. The base value stands for 1 / M, the step size of plain gradient descent, and ``condition`` for M / m:
    values lie between the base and ``condition`` times it, and one cycle reduces the error of a quadratic as the
    best polynomial of degree T does.

    Raises HyperparameterError for a ``cycle`` that is not a power of two.
    """

    cycle: int = field(default=8, validator=positive, doc="T, a power of two; the paper's experiments use 8")
    condition: float = field(default=20.0, validator=positive, doc="M / m, at least 1")

    def __attrs_post_init__(self) -> None:
        if self.cycle & (self.cycle - 1):
            raise HyperparameterError(f"Chebyshev: cycle must be a power of two, got {self.cycle}")
        if self.condition < 1:
            raise HyperparameterError(f"Chebyshev: condition must be >= 1, got {self.condition}")
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        t = fractal_order(self.cycle)[int(position) % self.cycle]
        m = 1.0 / self.condition
        return base / (0.5 * (1.0 + m) - 0.5 * (1.0 - m) * math.cos((t - 0.5) * math.pi / self.cycle))
