"""The TemplateClass scheduler."""

from __future__ import annotations

import math

from lunar_core.component import field, positive
from lunar_core.contracts.scheduler import Scheduler


class TemplateClass(Scheduler):
    """``base / sqrt(1 + position / timescale)``."""

    timescale: float = field(default=100.0, validator=positive, kw_only=True, doc="positions until base / sqrt(2)")

    def value(self, position: float, base: float) -> float:
        return base / math.sqrt(1 + position / self.timescale)
