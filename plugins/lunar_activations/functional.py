"""Every activation as a function: ``from lunar_activations import functional as A; A.mish(x)``.

The layers call these. Each takes a Tensor or a raw array and gives the same kind back; those that are ops of the core
stand here under the same name. Integer inputs become floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops, random
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.ops import activation_more as more
from lunar_core.ops import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, softmax, softplus, tanh
from lunar_core.ops.activation_more import (
    celu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    log_sigmoid,
    mish,
    relu6,
    selu,
    softshrink,
    softsign,
    sparsemax,
    tanhshrink,
)
from lunar_core.ops.common import normalize_axis
from lunar_core.tensor import Tensor

__all__ = [
    "celu",
    "elu",
    "geglu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "maxout",
    "mish",
    "prelu",
    "reglu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sparsemax",
    "swiglu",
    "tanh",
    "tanhshrink",
    "threshold",
]


def linear(x: Any) -> Any:
    """``x`` itself."""
    return x


def threshold(x: Any, threshold: float, value: float = 0.0) -> Any:
    """``x`` where ``x > threshold``, else ``value``; the slope at the threshold is 0."""
    return ops.where(x > threshold, x, value)


def silu(x: Any, beta: float = 1.0) -> Any:
    """``x * sigmoid(beta * x)``; with ``beta = 1`` the SiLU, in general Swish (arXiv:1710.05941)."""
    return ops.silu(x) if beta == 1 else x * ops.sigmoid(x * beta)


def softmin(x: Any, axis: int = -1) -> Any:
    """``softmax(-x)`` along ``axis``: the smallest entry gets the largest share."""
    return ops.softmax(-x, axis=axis)


def prelu(x: Any, weight: Any, axis: int = 1) -> Any:
    """``x`` where ``x > 0``, else ``weight * x``, with one weight for all, shape (1,), or one for each place on ``axis``.

    The slope at 0 is the weight (arXiv:1502.01852).
    """
    if weight.ndim != 1:
        raise ShapeError(f"prelu: weight must have one axis, got shape {tuple(weight.shape)}")
    count = weight.shape[0]
    if count == 1:
        return more.prelu(x, weight if x.ndim else weight.reshape(()))
    at = normalize_axis(axis, x.ndim, "prelu")[0]
    if x.shape[at] != count:
        raise ShapeError(
            f"prelu: {count} weights for axis {axis} of size {x.shape[at]}, inputs of shape {tuple(x.shape)}"
        )
    return more.prelu(x, weight.reshape((count,) + (1,) * (x.ndim - 1 - at)))


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None) -> Any:
    """``x`` where ``x > 0``, else ``a * x`` with ``a`` uniform on ``[lower, upper)`` for each element (arXiv:1505.00853).

    Outside of training ``a`` is the mean, ``(lower + upper) / 2``. The slopes are drawn on the host, so every device
    gets the same ones, by ``generator``, by default the next one of the stream "rrelu".
    """
    if not lower <= upper:
        raise HyperparameterError(f"rrelu: lower must not exceed upper, got {lower!r} and {upper!r}")
    if not training or lower == upper:
        return ops.leaky_relu(x, negative_slope=(lower + upper) / 2)
    if generator is None:
        generator = random.stream("rrelu").next()
    raw = x.data if isinstance(x, Tensor) else x
    single = np.float32 if raw.dtype.itemsize <= 4 else np.float64
    slopes = generator.random(raw.shape, dtype=single)
    slopes *= upper - lower
    slopes += lower
    if raw.dtype.kind not in "biu":
        slopes = slopes.astype(raw.dtype, copy=False)
    owner = backend.of(raw)
    return more.prelu(x, owner.from_numpy(slopes, owner.device_of(raw)))


# -- gates: the axis is halved, the first half is the value and the second one the gate ---------------------------------


def _halves(x: Any, axis: int, name: str) -> Any:
    at = normalize_axis(axis, x.ndim, name)[0]
    if x.shape[at] % 2:
        raise ShapeError(f"{name}: axis {axis} must have an even size, got {x.shape[at]} in {tuple(x.shape)}")
    return ops.split(x, 2, axis=at)


def glu(x: Any, axis: int = -1) -> Any:
    """``a * sigmoid(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis`` (arXiv:1612.08083)."""
    return ops.glu(x, axis)


def swiglu(x: Any, axis: int = -1) -> Any:
    """``a * silu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis`` (arXiv:2002.05202)."""
    a, b = _halves(x, axis, "swiglu")
    return a * ops.silu(b)


def geglu(x: Any, axis: int = -1, approximate: str = "none") -> Any:
    """``a * gelu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis`` (arXiv:2002.05202)."""
    a, b = _halves(x, axis, "geglu")
    return a * ops.gelu(b, approximate=approximate)


def reglu(x: Any, axis: int = -1) -> Any:
    """``a * relu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis`` (arXiv:2002.05202)."""
    a, b = _halves(x, axis, "reglu")
    return a * ops.relu(b)


def maxout(x: Any, pieces: int, axis: int = 1) -> Any:
    """The largest of each ``pieces`` neighbours along ``axis``, which shrinks by that factor (arXiv:1302.4389).

    Equal largest ones share the gradient evenly.
    """
    at = normalize_axis(axis, x.ndim, "maxout")[0]
    if pieces < 1 or x.shape[at] % pieces:
        raise ShapeError(f"maxout: axis {axis} of size {x.shape[at]} is not made of groups of {pieces}")
    shape = (*x.shape[:at], x.shape[at] // pieces, pieces, *x.shape[at + 1 :])
    return ops.max(x.reshape(shape), axis=at + 1)
