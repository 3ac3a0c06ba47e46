"""The adversarial loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, one_of
from lunar_core.tensor import Tensor
from lunar_losses.adversarial import Adversarial


class GAN(Adversarial):
    """``-log D(real) - log(1 - D(fake))`` for the discriminator, with D = sigmoid of its score; for the generator::

        -log D(fake)          variant "non_saturating"
        log(1 - D(fake))      variant "minimax": no gradient where the discriminator is sure

    Shapes: as of every :class:`~lunar_losses.adversarial.Adversarial` loss: scores (logits) of one shape. Computed without
    overflow. I. Goodfellow et al., Generative Adversarial Networks (2014), arXiv:1406.2661, equation 1 and the end of
    section 3.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that differ.
    """

    variant: str = field(
        default="non_saturating", validator=one_of("non_saturating", "minimax"), doc="what the generator minimises"
    )

    def discriminate(self, real: Any, fake: Any) -> Tensor:
        return -(ops.log_sigmoid(real) + ops.log_sigmoid(-fake))

    def generate(self, fake: Any) -> Tensor:
        return -ops.log_sigmoid(fake) if self.variant == "non_saturating" else ops.log_sigmoid(-fake)
