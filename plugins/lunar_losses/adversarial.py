"""What the losses of generative adversarial networks share."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, one_of
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import same_shapes, several


class Adversarial(Loss):
    """Base of adversarial losses; write ``discriminate(real, fake)`` and ``generate(fake)``.

    For the ``role`` "discriminator" ``pred`` is a pair ``(real, fake)`` of its scores, of one shape; for the "generator" it
    is the scores of what it made. There is no target, and one that is given is not looked at. Losses have the shape of
    the scores, and the mean is over all of them, which for a pair is the mean over the real ones plus that over the
    fake ones.
    """

    role: str = field(default="discriminator", validator=one_of("discriminator", "generator"), doc="whose loss this is")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        name = type(self).__name__
        if self.role == "generator":
            return self.generate(*((pred,) if not isinstance(pred, tuple) else several(name, pred, "fake"))), None
        real, fake = several(name, pred, "real", "fake")
        same_shapes(name, real=real, fake=fake)
        return self.discriminate(real, fake), None

    def discriminate(self, real: Any, fake: Any) -> Tensor:
        """The loss of the one that tells them apart."""
        raise NotImplementedError

    def generate(self, fake: Any) -> Tensor:
        """The loss of the one that makes them."""
        raise NotImplementedError
