"""Initializers: how the first values of parameters are drawn.

Shapes put the output axis first, ``(out, in)`` or ``(out, in / groups, *kernel)``; the fans are those of
:func:`lunar_core.contracts.initializer.fans`. Values are drawn in float64 and rounded to the parameter's dtype, so one
seed gives the same model in float32 and in float64 up to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lunar_core.component import field, non_negative, one_of, positive
from lunar_core.contracts.initializer import Initializer, fans

_mode = one_of("fan_in", "fan_out", "fan_avg")


def as_initializer(value: Any) -> Any:
    """The converter of fields that hold an initializer: a registry name becomes that component, the rest stays.

    The registry is touched for a name only.
    """
    if isinstance(value, str):
        from lunar_core.plugins import registry

        return registry.create("initializer", value)
    return value


def _fan(shape: tuple[int, ...], mode: str) -> float:
    fan_in, fan_out = fans(shape)
    size = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    return max(size, 1)


class HeNormal(Initializer):
    """Normal with mean 0 and standard deviation ``sqrt(2 / ((1 + negative_slope**2) * fan))``, not truncated.

    Keeps the variance of activations through ReLU layers (LeakyReLU with ``negative_slope``). ``mode`` chooses the fan:
    ``"fan_in"`` (default) keeps the forward pass level, ``"fan_out"`` the backward pass.

    Source: K. He et al., Delving Deep into Rectifiers, ICCV 2015, equations 10 and 15; equal in distribution to
    ``torch.nn.init.kaiming_normal_``. Keras' ``he_normal`` truncates at two standard deviations, this one does not.
    """

    mode: str = field(default="fan_in", validator=_mode, doc="fan_in, fan_out or their mean, fan_avg")
    negative_slope: float = field(default=0.0, doc="slope of the negative half of the activation that follows")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        std = math.sqrt(2 / ((1 + self.negative_slope**2) * _fan(shape, self.mode)))
        return rng.normal(0.0, std, shape)


class HeUniform(Initializer):
    """Uniform on ``[-a, a)`` with ``a = sqrt(6 / ((1 + negative_slope**2) * fan))``: the variance of :class:`HeNormal`.

    Source: K. He et al., Delving Deep into Rectifiers, ICCV 2015; equal in distribution to
    ``torch.nn.init.kaiming_uniform_``. ``negative_slope=5**0.5`` gives the weights that PyTorch's layers start with.
    """

    mode: str = field(default="fan_in", validator=_mode, doc="fan_in, fan_out or their mean, fan_avg")
    negative_slope: float = field(default=0.0, doc="slope of the negative half of the activation that follows")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        bound = math.sqrt(6 / ((1 + self.negative_slope**2) * _fan(shape, self.mode)))
        return rng.uniform(-bound, bound, shape)


class XavierNormal(Initializer):
    """Normal with mean 0 and standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``, not truncated.

    Source: X. Glorot and Y. Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks,
    AISTATS 2010, equation 12; equal in distribution to ``torch.nn.init.xavier_normal_``.
    """

    gain: float = field(default=1.0, validator=positive, doc="factor on the standard deviation")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0.0, self.gain / math.sqrt(_fan(shape, "fan_avg")), shape)


class XavierUniform(Initializer):
    """Uniform on ``[-a, a)`` with ``a = gain * sqrt(6 / (fan_in + fan_out))``.

    Source: X. Glorot and Y. Bengio, AISTATS 2010, equation 16; equal in distribution to
    ``torch.nn.init.xavier_uniform_``.
    """

    gain: float = field(default=1.0, validator=positive, doc="factor on the bound")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        bound = self.gain * math.sqrt(3 / _fan(shape, "fan_avg"))
        return rng.uniform(-bound, bound, shape)


class Normal(Initializer):
    """Normal with ``mean`` and ``std``, whatever the shape; by default the standard normal, as in PyTorch."""

    mean: float = field(default=0.0, doc="mean")
    std: float = field(default=1.0, validator=non_negative, doc="standard deviation")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.std, shape)


class Constant(Initializer):
    """Every element is ``value``."""

    value: float = field(doc="the value of every element")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """Every element is 0."""

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """Every element is 1."""

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.ones(shape)
