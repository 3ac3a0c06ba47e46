"""Activations that draw their input towards zero: tanhshrink, softshrink, hardshrink."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.activation import Activation

from . import functional


class Tanhshrink(Activation):
    """``x - tanh(x)``, to the rounding of ``x``: small inputs, whose result is ``x**3 / 3``, have few exact digits."""

    def forward(self, x: Any) -> Any:
        return functional.tanhshrink(x)


class Softshrink(Activation):
    """``x - lambd`` where ``x > lambd``, ``x + lambd`` where ``x < -lambd``, else 0: the proximal step of an L1 penalty.

    The slope at both kinks is 0. The argument is PyTorch's ``lambd``.

    Source: D. L. Donoho, De-noising by Soft-Thresholding, IEEE Transactions on Information Theory 41 (1995).
    """

    lambd: float = field(default=0.5, validator=non_negative, doc="half the width of the flat part")

    def forward(self, x: Any) -> Any:
        return functional.softshrink(x, self.lambd)


class Hardshrink(Activation):
    """``x`` where ``|x| > lambd``, else 0; it jumps at ``+-lambd``, where value and slope are 0.

    Source: D. L. Donoho and I. M. Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, Biometrika 81 (1994).
    """

    lambd: float = field(default=0.5, validator=non_negative, doc="half the width of the flat part")

    def forward(self, x: Any) -> Any:
        return functional.hardshrink(x, self.lambd)
