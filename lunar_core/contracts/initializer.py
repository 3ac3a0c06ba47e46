"""Initializer: how the first values of a parameter are drawn.

An initializer maps a shape to an array. Shapes of weights put the output axis first: (out, in) for dense layers,
(out, in / groups, *kernel) for convolutions.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from .. import backend, random
from ..component import Component
from ..modes import modes


class Initializer(Component):
    """Base of initializers: write ``sample(shape, rng)``, which gives float64 or float32 values on the host.

    Calling an initializer draws from the stream "init" and gives an array of the default dtype on the default device;
    inside ``Module.build`` these are the dtype and device of the first input.
    """

    kind: ClassVar[str] = "initializer"

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Values of ``shape``, drawn from ``rng``."""
        raise NotImplementedError(f"{type(self).__name__} defines no sample()")

    def __call__(self, shape: tuple[int, ...]) -> Any:
        values = np.asarray(self.sample(shape, random.stream("init").next()), dtype=modes.dtype)
        return backend.for_device(modes.device).from_numpy(values, modes.device)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: input and output connections of one unit, the kernel's area included."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area
