"""Running log-sum-exp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..op import OUTPUT, Op, Sample, Spec
from .common import array, normalize_axis
from .shape import reshape


def _logcumsumexp_forward(xp: Any, x: Any, axis: int) -> Any:
    if xp is np and x.dtype.kind != "V":
        return np.logaddexp.accumulate(x, axis=axis)
    order = xp.moveaxis(x, axis, 0)  # by doubling, where the array library has no running logaddexp
    out, reach = order.copy(), 1
    while reach < out.shape[0]:
        out = xp.concatenate([out[:reach], xp.logaddexp(out[reach:], out[:-reach])])
        reach *= 2
    return xp.moveaxis(out, 0, axis)


def _logcumsumexp_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int) -> Any:
    """``sum over j >= i of g[j] exp(x[i] - y[j])``, the terms of either sign by a running logsumexp from the end."""
    x, y = saved

    def weighed(part: Any) -> Any:
        empty = F.equal(part, 0)
        logs = F.where(empty, -math.inf, F.log(F.where(empty, 1.0, part)) - y)
        return F.exp(x + F.flip(F.logcumsumexp(F.flip(logs, axis), axis), axis))

    zero = g * 0
    return (weighed(F.maximum(g, zero)) - weighed(F.maximum(-g, zero)),)


_logcumsumexp = Op(
    "logcumsumexp",
    _logcumsumexp_forward,
    _logcumsumexp_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=lambda x, axis: Spec(x.shape, x.dtype if x.dtype.kind in "fV" else np.dtype(np.float64)),
    samples=lambda: [
        Sample((array(i, shape),), {"axis": axis}, torch=lambda t, x, a=axis: t.logcumsumexp(x, a))
        for i, (shape, axis) in enumerate([((5,), 0), ((3, 4), 1), ((3, 4, 2), 0)])
    ],
    doc="Running ``log(sum(exp(x)))``.",
)


def logcumsumexp(x: Any, axis: int | None = None) -> Any:
    """``log(cumsum(exp(x)))`` along ``axis``, of the flattened array when ``None``, without overflow."""
    if x.dtype.kind == "c":
        raise DTypeError(f"logcumsumexp: expected real numbers, got {x.dtype}")
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    return _logcumsumexp(x, axis=normalize_axis(axis, x.ndim, "logcumsumexp")[0])


__all__ = ["logcumsumexp"]
