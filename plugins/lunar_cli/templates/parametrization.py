"""The TemplateClass parametrization."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.parametrization import Parametrization


class TemplateClass(Parametrization):
    """Keeps every weight within ``(-limit, limit)``: ``limit * tanh(original / limit)``."""

    limit: float = field(default=1.0, validator=positive, doc="largest size of a weight")

    def forward(self, original: Any) -> Any:
        return self.limit * ops.tanh(original / self.limit)

    def right_inverse(self, value: Any) -> Any:
        inside = ops.clip(value / self.limit, -1 + 1e-6, 1 - 1e-6)
        return self.limit * ops.arctanh(inside)
