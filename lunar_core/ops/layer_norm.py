"""Normalisation of each sample over its trailing axes, forward and backward one kernel each.

As with batch_norm, the backward kernel has no rule of its own; where a graph of the gradient is wanted, the rule is
spelled out in plain ops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .normalization import single, statistics_dtype

_BLOCK = 1 << 17  # numbers in a block of rows


def row_dots(xp: Any, a: Any, b: Any) -> Any:
    """Row by row products summed: (R, D), (R, D) -> (R, 1)."""
    if xp is np:
        return np.vecdot(a, b)[:, None]
    return (a * b).sum(axis=1, keepdims=True)


def row_means(xp: Any, a: Any) -> Any:
    """(R, D) -> (R, 1)."""
    width = a.shape[1]
    if a.dtype.char in "fd" and width <= 4096:  # longer rows keep NumPy's pairwise sum, which rounds less
        return a.dot(xp.full((width, 1), 1 / width, a.dtype))
    return a.mean(axis=1, keepdims=True)


def row_blocks(xp: Any, rows: int, width: int) -> list[slice]:
    """Blocks of rows for a kernel of many steps, so that what it works on stays in the core's cache; one on a device."""
    size = max(1, _BLOCK // max(width, 1)) if xp is np else max(rows, 1)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _normalize(xp: Any, rows: Any, eps: float, out: Any) -> Any:
    """Rows with mean 0 and variance 1 into ``out``; gives one over each one's standard deviation."""
    xp.subtract(rows, row_means(xp, rows), out=out)
    var = row_dots(xp, out, out)
    var /= rows.shape[1]
    var += eps
    rstd = 1 / xp.sqrt(var)
    out *= rstd
    return rstd


def _layer_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, axes: int, eps: float) -> Any:
    width = math.prod(x.shape[x.ndim - axes :])
    rows = single(x).reshape(-1, width)
    out = xp.empty(rows.shape, rows.dtype)
    weight, bias = (None if v is None else v.reshape(-1) for v in (weight, bias))
    for block in row_blocks(xp, *rows.shape):
        part = out[block]
        _normalize(xp, rows[block], eps, part)
        if weight is not None:
            part *= weight
        if bias is not None:
            part += bias
    return out.reshape(x.shape).astype(x.dtype, copy=False)


def _layer_norm_vjp(F: Any, g: Any, saved: Any, need: Any, axes: int, eps: float) -> Any:
    x, weight, _ = saved
    if isinstance(g, Tensor):
        gx, gw, gb = _layer_norm_by_ops(F, g, x, weight, axes, eps)
        return gx, gw if need[1] else None, gb if need[2] else None
    affine = need[1] or need[2]
    results = F.layer_norm_grad(g, x, weight, axes=axes, eps=eps, affine=affine)
    if not affine:
        return results[0], None, None
    gx, gw, gb = results
    return gx, gw if need[1] else None, gb if need[2] else None


def _layer_norm_by_ops(F: Any, g: Any, x: Any, weight: Any, axes: int, eps: float) -> Any:
    trailing = tuple(range(x.ndim - axes, x.ndim))
    centered = x - F.mean(x, axis=trailing, keepdims=True)
    rstd = F.rsqrt(F.mean(centered * centered, axis=trailing, keepdims=True) + eps)
    normed = centered * rstd
    gn = g if weight is None else g * weight
    along = F.mean(gn * normed, axis=trailing, keepdims=True)
    gx = rstd * (gn - F.mean(gn, axis=trailing, keepdims=True) - normed * along)
    leading = tuple(range(x.ndim - axes))
    if not leading:
        return gx, g * normed, g
    return gx, F.sum(g * normed, axis=leading), F.sum(g, axis=leading)


def _layer_norm_grad_forward(
    xp: Any, g: Any, x: Any, weight: Any, axes: int, eps: float, affine: bool
) -> tuple[Any, ...]:
    tail = x.shape[x.ndim - axes :]
    width = math.prod(tail)
    rows, g = single(x).reshape(-1, width), single(g).reshape(-1, width)
    out = xp.empty(rows.shape, rows.dtype)
    weight = xp.ones(width, rows.dtype) if weight is None else single(weight).reshape(-1)
    average = (weight / width)[:, None]
    blocks = row_blocks(xp, *rows.shape)
    scratch = xp.empty((blocks[0].stop if blocks else 0, width), rows.dtype)
    gw, gb = xp.zeros((2, width), rows.dtype)
    for block in blocks:
        gi, part = g[block], out[block]
        normed = scratch[: part.shape[0]]
        rstd = _normalize(xp, rows[block], eps, normed)
        xp.multiply(gi, normed, out=part)
        if affine:
            ones = xp.ones(part.shape[0], rows.dtype)
            gw += ones.dot(part)
            gb += ones.dot(gi)
        normed *= part.dot(average)
        normed += gi.dot(average)
        xp.multiply(gi, weight, out=part)
        part -= normed
        part *= rstd
    params = (gw.reshape(tail), gb.reshape(tail)) if affine else ()
    return (out.reshape(x.shape).astype(x.dtype, copy=False), *params)


def _layer_norm_cases() -> list[tuple[tuple[Any, ...], int]]:
    return [
        ((array(0, (3, 4)), array(1, (4,), 0.5, 2), array(2, (4,))), 1),
        ((array(3, (2, 3, 4)), array(4, (4,), 0.5, 2), None), 1),
        ((array(5, (2, 3, 4)), array(6, (3, 4), 0.5, 2), array(7, (3, 4))), 2),
        ((array(8, (4, 3, 2)).T, None, None), 1),
        ((array(9, (5,)), array(10, (5,), 0.5, 2), array(11, (5,))), 1),
    ]


def _layer_norm_samples() -> list[Sample]:
    def call(axes: int, with_weight: bool, with_bias: bool) -> Any:
        def of(t: Any, x: Any, *params: Any) -> Any:
            weight = params[0] if with_weight else None
            bias = params[1] if with_bias else None
            return t.nn.functional.layer_norm(x, x.shape[x.ndim - axes :], weight, bias, eps=0.01)

        return of

    return [
        Sample(args, {"axes": axes, "eps": 0.01}, torch=call(axes, args[1] is not None, args[2] is not None))
        for args, axes in _layer_norm_cases()
    ]


def _layer_norm_grad_samples() -> list[Sample]:
    return [
        Sample((array(i + 20, x.shape), x, w), {"axes": axes, "eps": 0.01, "affine": w is not None}, grad=False)
        for i, ((x, w, _), axes) in enumerate(_layer_norm_cases())
    ]


def _layer_norm_grad_spec(g: Spec, x: Spec, weight: Any, axes: int, eps: float, affine: bool) -> tuple[Spec, ...]:
    params = (Spec(x.shape[x.ndim - axes :], statistics_dtype(x.dtype)),) * 2 if affine else ()
    return (x, *params)


_layer_norm = Op(
    "layer_norm",
    _layer_norm_forward,
    _layer_norm_vjp,
    save=(0, 1, Shape(2)),
    heavy=True,
    cast="float32",
    abstract=lambda x, weight, bias, axes, eps: x,
    samples=_layer_norm_samples,
    doc="Normalisation of each sample over trailing axes.",
)
layer_norm_grad = Op(
    "layer_norm_grad",
    _layer_norm_grad_forward,
    None,
    heavy=True,
    abstract=_layer_norm_grad_spec,
    samples=_layer_norm_grad_samples,
    doc="Gradients of layer_norm in its input and, where asked for, in its weight and bias.",
)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, axes: int | None = None) -> Any:
    """Normalise over the last ``axes`` axes: ``(x - mean) / sqrt(var + eps) * weight + bias`` with the biased variance.

    Shapes: x (..., *D), weight and bias D or ``None`` -> (..., *D). ``axes`` is the length of D; by default that of the
    weight or bias, 1 without either.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, Layer Normalization, arXiv:1607.06450.
    """
    if axes is None:
        axes = weight.ndim if weight is not None else bias.ndim if bias is not None else 1
    shape = tuple(x.shape)
    if not 1 <= axes <= len(shape):
        raise ShapeError(f"layer_norm: {axes} trailing axes of an input of shape {shape}")
    if x.dtype.kind in "biuc":
        raise DTypeError(f"layer_norm expects real floating inputs, got {x.dtype}")
    tail = shape[len(shape) - axes :]
    for name, vector in (("weight", weight), ("bias", bias)):
        if vector is not None and tuple(vector.shape) != tail:
            raise ShapeError(
                f"layer_norm: {name} must have the shape {tail} of the last axes of {shape}, got {vector.shape}"
            )
    if 0 in tail:
        raise ShapeError(f"layer_norm: nothing to normalise over in the last axes of {shape}")
    return _apply_layer_norm(x, weight, bias, axes=axes, eps=float(eps))


_apply_layer_norm = _layer_norm.applier(3)
