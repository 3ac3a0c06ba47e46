"""The least squares adversarial loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.tensor import Tensor
from lunar_losses.adversarial import Adversarial


class LSGAN(Adversarial):
    """``((real - b) ** 2 + (fake - a) ** 2) / 2`` for the discriminator, ``(fake - c) ** 2 / 2`` for the generator.

    Shapes: as of every :class:`~lunar_losses.adversarial.Adversarial` loss: scores of one shape, without a sigmoid. X. Mao
    et al., Least Squares Generative Adversarial Networks (2017), arXiv:1611.04076, equation 9 by default; a = -1, b = 1,
    c = 0 is its equation 8, which minimises the Pearson chi-square divergence.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that differ.
    """

    a: float = field(default=0.0, doc="label of fake ones")
    b: float = field(default=1.0, doc="label of real ones")
    c: float = field(default=1.0, doc="what the generator wants its own to be taken for")

    def discriminate(self, real: Any, fake: Any) -> Tensor:
        return 0.5 * (ops.square(real - self.b) + ops.square(fake - self.a))

    def generate(self, fake: Any) -> Tensor:
        return 0.5 * ops.square(fake - self.c)
