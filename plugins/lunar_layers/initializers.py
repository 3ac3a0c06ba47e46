"""Initializers: how the first values of parameters are drawn.

Shapes put the output axis first, ``(out, in)`` or ``(out, in / groups, *kernel)``; the fans are those of
:func:`lunar_core.contracts.initializer.fans`. Values are drawn in float64 and rounded to the parameter's dtype, so one
seed gives the same model in float32 and in float64 up to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lunar_core.component import field, hyperparameter_error, in_range, non_negative, one_of, positive
from lunar_core.contracts.initializer import Initializer, fans
from lunar_core.errors import ShapeError

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


class LecunNormal(Initializer):
    """Normal with mean 0 and standard deviation ``sqrt(1 / fan_in)``, not truncated (Keras' truncates, JAX's too).

    Keeps the variance through linear layers, and is what SELU networks need.

    Source: Y. LeCun et al., Efficient BackProp, 1998, equation 16.
    """

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0.0, math.sqrt(1 / _fan(shape, "fan_in")), shape)


class LecunUniform(Initializer):
    """Uniform on ``[-a, a)`` with ``a = sqrt(3 / fan_in)``: the variance of :class:`LecunNormal`.

    Source: Y. LeCun et al., Efficient BackProp, 1998, equation 16.
    """

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        bound = math.sqrt(3 / _fan(shape, "fan_in"))
        return rng.uniform(-bound, bound, shape)


def _ordered(instance: Any, attribute: Any, value: Any) -> None:
    if not instance.low < instance.high:
        raise hyperparameter_error(instance, attribute.alias, value, f"< high = {instance.high:g}")


class Uniform(Initializer):
    """Uniform on ``[low, high)``, whatever the shape; by default on ``[0, 1)``, as ``torch.nn.init.uniform_``."""

    low: float = field(default=0.0, validator=_ordered, doc="lower bound")
    high: float = field(default=1.0, doc="upper bound")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, shape)


class TruncatedNormal(Initializer):
    """Normal with ``mean`` and ``std``, restricted to ``[low, high]``, whatever the shape.

    The bounds are values, not multiples of ``std``, as in ``torch.nn.init.trunc_normal_``; by default -2 and 2. The
    standard deviation of the result is smaller than ``std``. Drawn by rejection, exact also far out in a tail
    (C. Robert, Simulation of Truncated Normal Variables, Statistics and Computing 5, 1995).
    """

    mean: float = field(default=0.0, doc="mean of the normal distribution before it is cut")
    std: float = field(default=1.0, validator=positive, doc="its standard deviation")
    low: float = field(default=-2.0, validator=_ordered, doc="lower bound")
    high: float = field(default=2.0, doc="upper bound")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        z = _truncated((self.low - self.mean) / self.std, (self.high - self.mean) / self.std, math.prod(shape), rng)
        return np.clip(self.mean + self.std * z.reshape(shape), self.low, self.high)  # rounding may step over a bound


def _truncated(low: float, high: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` standard normal values within [low, high]."""
    if high < 0:
        return -_truncated(-high, -low, count, rng)
    out = np.empty(count)
    done = 0
    # from where a tail is cut, an exponential proposal whose rate makes acceptance likeliest
    rate = (low + math.sqrt(low * low + 4)) / 2
    while done < count:
        n = math.ceil(1.1 * (count - done)) + 8
        if low > 0:
            z = low - np.log1p(rng.random(n) * math.expm1(-rate * (high - low))) / rate
            peak = min(rate, high)
            accept = np.exp(((peak - rate) ** 2 - (z - rate) ** 2) / 2)
            z = z[rng.random(n) < accept]
        elif high - low < 2.5:
            z = rng.uniform(low, high, n)
            z = z[rng.random(n) < np.exp(-z * z / 2)]
        else:
            z = rng.standard_normal(n)
            z = z[(z >= low) & (z <= high)]
        z = z[: count - done]
        out[done : done + z.size] = z
        done += z.size
    return out


_KEPT_STD = 0.87962566103423978  # standard deviation of the standard normal restricted to [-2, 2]


class VarianceScaling(Initializer):
    """Mean 0 and variance ``scale / fan``: the family of which He, Xavier and LeCun are members.

    ``distribution``: ``"truncated_normal"`` (default; cut at two standard deviations and widened to keep the variance),
    ``"normal"``, or ``"uniform"``. ``mode`` is ``"fan_in"`` (default), ``"fan_out"`` or ``"fan_avg"``.

    Source: Keras' and JAX's ``VarianceScaling``, whose definition and defaults these are.
    """

    scale: float = field(default=1.0, validator=positive, doc="factor on the variance")
    mode: str = field(default="fan_in", validator=_mode, doc="fan_in, fan_out or their mean, fan_avg")
    distribution: str = field(
        default="truncated_normal",
        validator=one_of("truncated_normal", "normal", "uniform"),
        doc="shape of the density",
    )

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        std = math.sqrt(self.scale / _fan(shape, self.mode))
        if self.distribution == "normal":
            return rng.normal(0.0, std, shape)
        if self.distribution == "uniform":
            return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)
        return std / _KEPT_STD * _truncated(-2.0, 2.0, math.prod(shape), rng).reshape(shape)


def _require_axes(initializer: Initializer, shape: tuple[int, ...], low: int, high: int | None = None) -> None:
    if len(shape) < low or (high is not None and len(shape) > high):
        expected = f"{low} axes" if high == low else f"at least {low} axes" if high is None else f"{low} to {high} axes"
        raise ShapeError(f"{type(initializer).__name__} makes weights of {expected}, got shape {tuple(shape)}")


class Orthogonal(Initializer):
    """``gain`` times a random matrix with orthonormal rows or columns, whichever are fewer.

    A weight of more axes is one as a matrix (shape[0], the rest). Uniform among such matrices: the QR decomposition of
    a normal matrix, signs fixed by the diagonal of R.

    Source: A. Saxe, J. McClelland and S. Ganguli, arXiv:1312.6120; F. Mezzadri, arXiv:math-ph/0609050; equal in
    distribution to ``torch.nn.init.orthogonal_``.

    Raises:
        ShapeError: a shape of fewer than two axes.
    """

    gain: float = field(default=1.0, doc="factor on the matrix")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        _require_axes(self, shape, 2)
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q.T if rows < columns else q).reshape(shape)


class Identity(Initializer):
    """``gain`` times the identity matrix, so that a dense layer begins as the identity; zeros beside it if not square.

    Equals ``torch.nn.init.eye_``.

    Raises:
        ShapeError: a shape of other than two axes.
    """

    gain: float = field(default=1.0, doc="value on the diagonal")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        _require_axes(self, shape, 2, 2)
        return self.gain * np.eye(*shape)


class Dirac(Initializer):
    """Convolution kernels that pass their inputs on: 1 at the centre of kernel (i, i), else 0.

    Shapes: (out, in / groups, *kernel) with one to three kernel axes; with ``groups`` each group passes its inputs on.
    Even kernels have their centre right of the middle. Equals ``torch.nn.init.dirac_``.

    Raises:
        ShapeError: a shape of other than three to five axes, or an output size that ``groups`` does not divide.
    """

    groups: int = field(default=1, validator=positive, doc="number of groups of the convolution")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        _require_axes(self, shape, 3, 5)
        if shape[0] % self.groups:
            raise ShapeError(f"Dirac: {shape[0]} output channels are not divisible by groups = {self.groups}")
        out = np.zeros(shape)
        centre = tuple(n // 2 for n in shape[2:])
        size = shape[0] // self.groups
        for group in range(self.groups):
            for i in range(min(size, shape[1])):
                out[(group * size + i, i, *centre)] = 1.0
        return out


class Sparse(Initializer):
    """Normal with mean 0 and ``std``, of which in each column the share ``sparsity`` (rounded up) is 0.

    Equal in distribution to ``torch.nn.init.sparse_``: a column is what one input feeds.

    Source: J. Martens, Deep Learning via Hessian-free Optimization, ICML 2010, section 5 (which bounds the inputs of a
    unit, a row here, instead).

    Raises:
        ShapeError: a shape of other than two axes.
    """

    sparsity: float = field(validator=in_range(0, 1), doc="share of zeros in each column")
    std: float = field(default=0.01, validator=non_negative, doc="standard deviation of the other elements")

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        _require_axes(self, shape, 2, 2)
        out = rng.normal(0.0, self.std, shape)
        zeros = math.ceil(self.sparsity * shape[0])
        np.put_along_axis(out, rng.random(shape).argsort(axis=0)[:zeros], 0.0, axis=0)
        return out
