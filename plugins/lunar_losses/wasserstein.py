"""The Wasserstein loss."""

from __future__ import annotations

from typing import Any

from lunar_core.tensor import Tensor
from lunar_losses.adversarial import Adversarial


class Wasserstein(Adversarial):
    """``fake - real`` for the critic, ``-fake`` for the generator: the critic estimates the earth mover's distance.

    Shapes: as of every :class:`~lunar_losses.adversarial.Adversarial` loss: scores of one shape, (real, fake) for the role
    "discriminator", which is the critic here, fake alone for the "generator". The critic has to be kept Lipschitz, by
    :class:`~lunar_losses.gradient_penalty.GradientPenalty` for one. M. Arjovsky et al., Wasserstein GAN (2017),
    arXiv:1701.07875, algorithm 1.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that differ.
    """

    def discriminate(self, real: Any, fake: Any) -> Tensor:
        return fake - real

    def generate(self, fake: Any) -> Tensor:
        return -fake
