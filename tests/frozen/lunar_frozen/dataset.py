"""The FrozenDataset dataset."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard


class FrozenDataset(ArrayDataset):
    """Two arms of a spiral in the plane, one for each class; made, not measured.

    Examples: x (2,) float32, y the arm, 0 or 1.
    """

    fields: ClassVar[tuple[str, ...]] = ("x", "y")

    examples: int = field(default=1000, validator=positive, doc="how many, both arms together")
    noise: float = field(default=0.05, validator=non_negative, doc="standard deviation of the points around their arm")
    seed: int = field(default=0, validator=non_negative, doc="of the points")

    def read(self) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(self.seed)
        y = np.arange(self.examples) % 2
        radius = np.sqrt(rng.uniform(0.05, 1, self.examples))
        angle = 2 * np.pi * radius + np.pi * y
        x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        return (x + self.noise * rng.standard_normal(x.shape)).astype(np.float32), y

    @property
    def classes(self) -> tuple[str, ...]:
        return "first", "second"

    @property
    def card(self) -> DatasetCard:
        return DatasetCard("Two spirals", len(self), licence="CC0-1.0")
