"""Train on averages of examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, positive

from .mixing import Mixing


class Mixup(Mixing):
    """Each example becomes ``s x + (1 - s) x'`` with target ``s y + (1 - s) y'``, another example of its batch.

    ``s`` is drawn from Beta(alpha, alpha) once a step. Zhang et al., mixup: Beyond Empirical Risk Minimization,
    1710.09412, with the batch mixed with a permutation of itself, as their code does. See
    :class:`~lunar_training.callbacks.mixing.Mixing` for what the loss gets.
    """

    alpha: float = field(default=0.2, validator=positive, doc="both parameters of the Beta distribution of the share")

    def mix(self, x: Any, other: Any, share: float, rng: np.random.Generator) -> tuple[Any, float]:
        kind = x.dtype.type
        return x * kind(share) + other * kind(1 - share), share
