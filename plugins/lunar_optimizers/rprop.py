"""Resilient backpropagation."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError

from .hyperparameters import rate


class Rprop(Optimizer):
    """Steps from the gradient's sign alone; each element's step grows while the sign stays and shrinks when it turns.

    Where the sign turned, the element rests for one step. Riedmiller and Braun, A Direct Adaptive Method for Faster
    Backpropagation Learning: The RPROP Algorithm (1993), in the variant of ``torch.optim.Rprop``, which is iRprop-
    of Igel and Huesken (2000), algorithm 2. For full batches; the signs of mini-batches are noise.

    ``lr`` is the first step of each element, later changes of it have no effect. ``etas`` are the factors by which a
    step shrinks and grows, ``step_sizes`` its bounds.

    Raises HyperparameterError unless ``0 < etas[0] < 1 < etas[1]`` and ``step_sizes`` are in order.
    """

    lr: float = rate(1e-2, "first step of each element")
    etas: tuple[float, float] = field(default=(0.5, 1.2), validator=positive, doc="how a step shrinks and grows")
    step_sizes: tuple[float, float] = field(default=(1e-6, 50.0), validator=positive, doc="least and largest step")

    state = ("previous", "size")

    def __attrs_post_init__(self) -> None:
        if not self.etas[0] < 1 < self.etas[1]:
            raise HyperparameterError(f"Rprop: etas must be below and above 1, got {self.etas}", hint="etas=(0.5, 1.2)")
        if self.step_sizes[0] > self.step_sizes[1]:
            raise HyperparameterError(f"Rprop: step_sizes must be the least and the largest, got {self.step_sizes}")
        super().__attrs_post_init__()

    @staticmethod
    def update(p, g, previous, size, *, lr, etas, step_sizes, step):
        if step == 1:
            size = lr + size  # the state starts at zero
        agreement = g * previous
        factor = np.where(agreement > 0, etas[1], np.where(agreement < 0, etas[0], 1.0))
        size = np.minimum(np.maximum(size * factor, step_sizes[0]), step_sizes[1])
        g = np.where(agreement < 0, 0.0, g)
        return p - np.sign(g) * size, g, size
