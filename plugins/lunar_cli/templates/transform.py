"""The TemplateClass transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, non_negative
from lunar_core.contracts.transform import Transform


class TemplateClass(Transform):
    """Adds normal noise to every element of an example, ``x + std * n``.

    Shapes: (...) -> (...), floating; integers become float64.
    """

    std: float = field(default=0.1, validator=non_negative, doc="standard deviation of the noise")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"noise": rng.standard_normal(shape)}

    def apply(self, values: np.ndarray, drawn: dict[str, np.ndarray]) -> Any:
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        return (values + self.std * drawn["noise"]).astype(dtype)
