"""No change, after a warm-up."""

from __future__ import annotations

from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.scheduler import Scheduler, linear_warmup


class Constant(Scheduler):
    """The base value, reached in a straight line over the first ``warmup`` positions.

    Without warm-up nothing moves at all. Equals ``get_constant_schedule_with_warmup`` of Hugging Face's transformers,
    and with ``warmup_start`` PyTorch's ``LinearLR``.
    """

    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    warmup_start: float = field(default=0.0, validator=in_range(0, 1), doc="share of the base value at position 0")

    def value(self, position: float, base: float) -> float:
        return base * linear_warmup(position, self.warmup, self.warmup_start)
