"""Gaussian noise, added or multiplied."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lunar_core import backend, random
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.layer import Layer
from lunar_layers.checks import require_floating


class GaussianNoise(Layer):
    """In training, ``y = x + std * e`` with a standard normal ``e`` for each element; in evaluation ``y = x``.

    ``e`` comes from the stream "gaussian_noise" and belongs to the elements in C order. Keras' ``GaussianNoise``.

    Source: C. M. Bishop, Training with Noise is Equivalent to Tikhonov Regularization, Neural Computation 7, 1995.
    """

    std: float = field(default=0.1, validator=non_negative, doc="standard deviation of the noise")

    def forward(self, x: Any) -> Any:
        require_floating("GaussianNoise", x)
        if not self.training or self.std == 0:
            return x
        return x + normal_like(x, "gaussian_noise", 0.0, self.std)


class GaussianDropout(Layer):
    """In training, ``y = x * e`` with ``e`` normal of mean 1 and variance ``p / (1 - p)``; in evaluation ``y = x``.

    Mean and variance of the factor are those of :class:`~lunar_layers.dropout.Dropout`. ``e`` comes from the stream
    "gaussian_dropout". Keras' ``GaussianDropout``.

    Source: N. Srivastava et al., Dropout, JMLR 15, 2014, section 10.
    """

    p: float = field(
        default=0.5, validator=in_range(0, 1, include_high=False), doc="the rate of the dropout that it stands for"
    )

    def forward(self, x: Any) -> Any:
        require_floating("GaussianDropout", x)
        if not self.training or self.p == 0:
            return x
        return x * normal_like(x, "gaussian_dropout", 1.0, math.sqrt(self.p / (1 - self.p)))


def normal_like(x: Any, purpose: str, mean: float, std: float) -> Any:
    """A raw array of normal numbers in the shape, the dtype and on the device of ``x``, the next of a stream."""
    values = _drawn(x, purpose, tuple(x.shape), "standard_normal")
    values *= std
    values += mean
    return values.astype(x.dtype, copy=False)


def uniform_beside(x: Any, purpose: str, shape: tuple[int, ...]) -> Any:
    """A raw array of uniform numbers on [0, 1), on the device of ``x``, float32 or float64: the next of a stream."""
    return _drawn(x, purpose, shape, "random")


def _drawn(x: Any, purpose: str, shape: tuple[int, ...], method: str) -> Any:
    generator = random.stream(purpose).next()
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    xp = backend.of(getattr(x, "data", x) if hasattr(x, "node") else x).xp
    if xp is not np:  # one number is drawn here and seeds the device's own
        generator = xp.random.default_rng(int(generator.integers(0, 1 << 63)))
    return getattr(generator, method)(shape, dtype=dtype)
