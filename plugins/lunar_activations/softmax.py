"""Softmax."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.activation import Activation


class Softmax(Activation):
    """``exp(x) / sum(exp(x))`` along ``axis``: positive numbers that sum to 1 there, computed without overflow.

    ``axis`` defaults to the last one. The loss ``CrossEntropy`` takes logits: a model that is trained by it ends without
    a softmax.
    """

    axis: int = field(default=-1, doc="the axis along which the result sums to 1")

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.axis)
