"""The TemplateClass gradient processor."""

from __future__ import annotations

from typing import Any

from lunar_core import backend
from lunar_core.component import field, positive
from lunar_core.contracts.gradient_processor import GradientProcessor


class TemplateClass(GradientProcessor):
    """Softly limits each element of the gradients to ``(-limit, limit)``: ``limit * tanh(g / limit)``."""

    limit: float = field(default=1.0, validator=positive, doc="largest size of an element")

    def process(self, grads: dict[str, Any], *parameters: Any) -> None:
        for g in grads.values():
            g[...] = self.limit * backend.of(g).xp.tanh(g / self.limit)
