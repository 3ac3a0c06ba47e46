"""The TemplateClass initializer."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.initializer import Initializer, fans


class TemplateClass(Initializer):
    """Uniform in ``[-limit, limit)`` with ``limit = scale / sqrt(fan_in)``.

    Source: the default of PyTorch's linear and convolutional layers at ``scale = 1``.
    """

    scale: float = field(default=1.0, validator=positive, doc="factor on the limit")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        limit = self.scale / np.sqrt(max(fans(shape)[0], 1))
        return rng.uniform(-limit, limit, shape)
