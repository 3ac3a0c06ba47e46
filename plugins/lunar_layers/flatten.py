"""Flatten."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.layer import Layer


class Flatten(Layer):
    """Axes ``start_axis`` to ``end_axis`` merged into one; by default all but the batch axis.

    Shapes: x (N, A, B, C) -> y (N, A * B * C), in C order whatever the layout in memory.
    """

    start_axis: int = field(default=1, doc="first axis to merge")
    end_axis: int = field(default=-1, doc="last axis to merge")

    def forward(self, x: Any) -> Any:
        return ops.flatten(x, start_axis=self.start_axis, end_axis=self.end_axis)
