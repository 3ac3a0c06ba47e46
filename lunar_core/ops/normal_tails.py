"""Tails of the normal distribution that keep their accuracy: erfcx, log_ndtr, and ndtri, the quantiles.

The fits are those of :mod:`lunar_core.ops.special` (Cody 1969, Wichura 1988). All compute in float64, with a relative error
of a few units in the last place, and round to the dtype of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import OUTPUT, Op, Sample
from .activation import _A, _B, _C, _D, _polynomial
from .common import unary
from .special import _CENTRAL, _FAR, _P, _Q, _TAIL, _exp_minus_square, _forward, _piecewise, _spec

_ROOT_HALF = math.sqrt(0.5)


def _erfcx_compute(xp: Any, x: Any) -> Any:
    def inner(x: Any) -> Any:
        square = x * x
        return xp.exp(square) * (1 - x * _polynomial(_A, square) / _polynomial(_B, square))

    def middle(x: Any) -> Any:
        return _polynomial(_C, x) / _polynomial(_D, x)

    def tail(x: Any) -> Any:
        inverse = 1 / (x * x)
        return (1 / math.sqrt(math.pi) - inverse * _polynomial(_P, inverse) / _polynomial(_Q, inverse)) / x

    def below(far: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def compute(x: Any) -> Any:
            size = xp.minimum(-x, 27.0)  # exp(27 ** 2) is infinite
            return 2 / _exp_minus_square(xp, size) - far(size)

        return compute

    size = xp.abs(x)
    return _piecewise(xp, x, [
        (size <= 0.46875, inner, 0.0), ((x > 0) & (size <= 4), middle, 1.0), (x > 4, tail, 5.0),
        (size <= 4, below(middle), -1.0), (x < -4, below(tail), -5.0),
    ])  # fmt: skip


def _torch_special(name: str) -> Any:
    return lambda t, x: getattr(t.special, name)(x)


def _torch_erfcx(t: Any, x: Any) -> Any:
    """PyTorch has no second derivative of its own and none of this in all versions."""
    return t.special.erfcx(x) if not x.requires_grad else t.exp(x * x) * t.special.erfc(x)


erfcx = Op(
    "erfcx",
    _forward("erfcx", _erfcx_compute),
    lambda F, g, saved, need: (g * (2 * saved[0] * saved[1] - 2 / math.sqrt(math.pi)),),
    save=(0, OUTPUT),
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [
        *unary(-2, 5, torch=_torch_erfcx)(),
        Sample((np.array([-6.0, 8.0, 60.0, 1e8]),), grad=False, torch=_torch_special("erfcx")),
    ],
    doc="The scaled complementary error function, ``exp(x * x) * erfc(x)``: about ``1 / (sqrt(pi) x)`` for large x.",
)


def _log_ndtr_compute(xp: Any, x: Any) -> Any:
    return _piecewise(xp, x, [
        (x < -1, lambda x: xp.log(0.5 * _erfcx_compute(xp, -x * _ROOT_HALF)) - 0.5 * x * x, -2.0),
        (x >= -1, lambda x: xp.log1p(-0.5 * _exp_minus_square(xp, xp.clip(x * _ROOT_HALF, -1.0, 30.0))
                                     * _erfcx_compute(xp, x * _ROOT_HALF)), 0.0),
    ])  # fmt: skip


log_ndtr = Op(
    "log_ndtr",
    _forward("log_ndtr", _log_ndtr_compute),
    # the slope is the density over the distribution function; exp(-x^2 / 2) drops out of the quotient
    lambda F, g, x, need: (g * (math.sqrt(2 / math.pi) / F.erfcx(x * -_ROOT_HALF)),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [
        *unary(-4, 4, torch=_torch_special("log_ndtr"))(),
        Sample((np.array([-30.0, -12.5, 7.5]),), torch=_torch_special("log_ndtr")),
    ],
    doc="The logarithm of the standard normal distribution function, accurate in both tails.",
)


def _ndtri_compute(xp: Any, p: Any) -> Any:
    tail = xp.minimum(p, 1 - p)

    def central(p: Any) -> Any:
        q = p - 0.5
        r = 0.180625 - q * q
        return q * _polynomial(_CENTRAL[0], r) / _polynomial(_CENTRAL[1], r)

    def outer(fit: Any, start: float) -> Callable[[Any], Any]:
        def compute(p: Any) -> Any:
            r = xp.sqrt(-xp.log(xp.minimum(p, 1 - p))) - start
            return xp.copysign(_polynomial(fit[0], r) / _polynomial(fit[1], r), p - 0.5)

        return compute

    return _piecewise(xp, p, [
        (xp.abs(p - 0.5) <= 0.425, central, 0.5),
        ((tail > 0) & (tail >= math.exp(-25.0)), outer(_TAIL, 1.6), 0.05),
        (tail > 0, outer(_FAR, 5.0), 1e-12),
        (tail == 0, lambda p: xp.copysign(xp.full_like(p, np.inf), p - 0.5), 0.0),
    ])  # fmt: skip


ndtri = Op(
    "ndtri",
    _forward("ndtri", _ndtri_compute),
    lambda F, g, y, need: (g * (math.sqrt(2 * math.pi) * F.exp(0.5 * y * y)),),
    save=OUTPUT,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [
        *unary(0.01, 0.99, torch=_torch_special("ndtri"))(),
        Sample((np.array([0.0, 1e-300, 1e-13, 1.0]),), grad=False, torch=_torch_special("ndtri")),
    ],
    doc="Quantiles of the standard normal distribution, the inverse of ndtr: infinite at 0 and 1, NaN outside of [0, 1].",
)

__all__ = ["erfcx", "log_ndtr", "ndtri"]
