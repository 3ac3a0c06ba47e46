"""A staircase down."""

from __future__ import annotations

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.scheduler import Scheduler, linear_warmup


class Step(Scheduler):
    """Multiplied by ``factor`` after every ``every`` positions: ``base * factor ** (position // every)``.

    The variant of PyTorch's ``StepLR``. A linear warm-up over the first ``warmup`` positions goes before, and the
    stairs are counted from its end, as in a ``SequentialLR`` of ``LinearLR`` and ``StepLR``.
    """

    every: int = field(kw_only=True, validator=positive, doc="positions between two steps down")
    factor: float = field(default=0.1, validator=non_negative, doc="what is left after each")
    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    warmup_start: float = field(default=0.0, validator=in_range(0, 1), doc="share of the base value at position 0")

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        return base * self.factor ** ((position - self.warmup) // self.every)
