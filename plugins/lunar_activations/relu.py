"""Rectified linear units."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.activation import Activation


class ReLU(Activation):
    """``max(x, 0)``; the slope at 0 is 0, as in PyTorch.

    Source: V. Nair and G. E. Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML 2010.
    """

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(Activation):
    """``x`` where ``x > 0``, else ``negative_slope * x``. The default slope is PyTorch's 0.01; Keras has 0.3.

    Source: A. L. Maas, A. Y. Hannun and A. Y. Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models,
    ICML 2013.
    """

    negative_slope: float = field(default=0.01, doc="slope of the negative half")

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, negative_slope=self.negative_slope)
