"""Activations along an axis besides the softmax: log-softmax, softmin, sparsemax."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field
from lunar_core.contracts.activation import Activation

from . import functional


class LogSoftmax(Activation):
    """``x - log(sum(exp(x)))`` along ``axis``: the logarithm of the softmax, exact also where that is tiny.

    The loss ``CrossEntropy`` takes logits and does this itself.
    """

    axis: int = field(default=-1, doc="the axis along which the exponentials sum to 1")

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(x, axis=self.axis)


class Softmin(Activation):
    """``exp(-x) / sum(exp(-x))`` along ``axis``: the softmax of ``-x``, largest where ``x`` is smallest."""

    axis: int = field(default=-1, doc="the axis along which the result sums to 1")

    def forward(self, x: Any) -> Any:
        return functional.softmin(x, axis=self.axis)


class Sparsemax(Activation):
    """The point of the probability simplex nearest to ``x`` along ``axis``: sums to 1 and has exact zeros.

    ``max(x - tau, 0)`` with the ``tau`` for which that sums to 1. The gradient is that of the map on the support; an
    entry that has just reached 0 has slope 0.

    Source: A. Martins and R. Astudillo, From Softmax to Sparsemax, arXiv:1602.02068, algorithm 1 and equation 14.
    """

    axis: int = field(default=-1, doc="the axis along which the result sums to 1")

    def forward(self, x: Any) -> Any:
        return functional.sparsemax(x, axis=self.axis)
