"""Normalisation by a length: of the last axes, of the last axis with one scale."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.module import Parameter
from lunar_layers.initializers import Constant, Ones, as_initializer
from lunar_layers.normalization import TrailingNorm


class RMSNorm(TrailingNorm):
    """``x / sqrt(mean(x^2) + eps) * weight``, the mean over each sample's last axes.

    Shapes: x (..., *normalized_shape) -> y of the same; ``weight`` normalized_shape. By default the last axis is
    normalised, whose size is learned from the first call. Training and evaluation do the same. ``eps`` 1e-6 is
    LLaMA's; ``None`` is the machine epsilon of the input's dtype, which is ``torch.nn.RMSNorm``'s default.

    Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467, equation 4.

    Raises:
        ShapeError: inputs whose last axes have other sizes.
        DTypeError: integer inputs.
    """

    eps: float | None = field(default=1e-6, validator=non_negative, doc="added to the mean square; None as said above")
    affine: bool = field(default=True, kw_only=True, doc="learn a weight")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")

    def build(self, x: Any) -> None:
        self.learn(x)
        self.weight = Parameter(self.weight_init(self.tail())) if self.affine else None  # normalized_shape

    def forward(self, x: Any) -> Any:
        self.check(x)
        return ops.rms_norm(x, self.weight, self.eps, axes=len(self.tail()))


class ScaleNorm(TrailingNorm):
    """``weight * x / sqrt(sum(x^2) + eps)``: vectors on a sphere whose radius is learned.

    Shapes: x (..., *normalized_shape) -> y of the same; ``weight`` () is one number, which starts at the square root of
    the number of elements that are normalised, or as ``weight_init`` says. By default the last axis is normalised,
    whose size is learned from the first call. Training and evaluation do the same.

    Source: T. Q. Nguyen and J. Salazar, Transformers without Tears, arXiv:1910.05895; their code takes
    ``max(|x|, 1e-5)`` in the denominator instead of the root with ``eps``.

    Raises:
        ShapeError: inputs whose last axes have other sizes.
        DTypeError: integer inputs.
    """

    eps: float = field(default=1e-10, validator=positive, doc="added to the sum of squares")
    weight_init: Initializer | None = field(
        default=None, converter=as_initializer, kw_only=True, doc="initializer of weight; None as said above"
    )

    def build(self, x: Any) -> None:
        self.learn(x)
        start = Constant(math.sqrt(math.prod(self.tail()))) if self.weight_init is None else self.weight_init
        self.weight = Parameter(start(()))  # ()

    def forward(self, x: Any) -> Any:
        self.check(x)
        n = math.prod(self.tail())
        return ops.rms_norm(x, None, self.eps / n, axes=len(self.tail())) * (self.weight * n**-0.5)
