"""Elementwise functions of probabilities: x log y, the terms of an entropy, logit, the normal distribution function.

Conventions are those of :mod:`lunar_core.ops.elementwise`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import Op, Sample
from .common import binary, elementwise_spec
from .elementwise import clip, log, log1p, subtract, where
from .special import erfc


def _x_times_log(name: str, shift: int, doc: str) -> Op:
    """``x * log(shift + y)`` that is 0 where ``x`` is 0."""
    logarithm = "log1p" if shift else "log"

    def forward(xp: Any, x: Any, y: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            out = x * getattr(xp, logarithm)(y)
            return xp.where(xp.logical_and(xp.equal(x, 0), xp.logical_not(xp.isnan(y))), xp.zeros_like(out), out)

    def vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
        x, y = saved
        gx = gy = None
        if need[0]:  # log(0) is no slope of the function that is 0 for x = 0
            dead = F.logical_and(F.equal(x, 0), F.less_equal(y, -shift))
            gx = F.where(dead, 0.0, g * getattr(F, logarithm)(F.where(dead, 1.0, y)))
        if need[1]:
            gy = g * x / (y + shift)
        return gx, gy

    def samples() -> list[Sample]:
        zeros = Sample(
            (np.array([0.0, 0.0, 2.0]), np.array([0.0, np.nan, 3.0])), grad=False, torch=_torch_special(name)
        )
        return [*binary(second=(0.3, 3.0), torch=_torch_special(name))(), zeros]

    return Op(
        name, forward, vjp, save=(0, 1), broadcasts=True, abstract=elementwise_spec(_ufunc(logarithm)), samples=samples, doc=doc
    )  # fmt: skip


def _torch_special(name: str) -> Any:
    return lambda t, *xs: getattr(t.special, name)(*xs)


def _ufunc(logarithm: str) -> Any:
    function = getattr(np, logarithm)
    return lambda x, y: x * function(y)


xlogy = _x_times_log("xlogy", 0, "``x * log(y)``, 0 where ``x`` is 0 (also for ``y`` = 0, but not for NaN).")
xlog1py = _x_times_log("xlog1py", 1, "``x * log(1 + y)``, 0 where ``x`` is 0 (also for ``y`` = -1, but not for NaN).")


def entr(x: Any) -> Any:
    """The term of an entropy, ``-x log(x)``: 0 at 0, ``-inf`` for negative numbers (``scipy.special.entr``)."""
    return where(x < 0, -math.inf, -xlogy(x, x))


def logit(x: Any, eps: float | None = None) -> Any:
    """``log(x / (1 - x))``, the inverse of sigmoid; NaN outside of [0, 1].

    With ``eps`` the input is first limited to ``[eps, 1 - eps]``.
    """
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    return subtract(log(x), log1p(-x))


def ndtr(x: Any) -> Any:
    """The distribution function of the standard normal distribution, ``erfc(-x / sqrt(2)) / 2``; exact in both tails."""
    return 0.5 * erfc(x * -math.sqrt(0.5))


__all__ = ["entr", "logit", "ndtr", "xlog1py", "xlogy"]
