"""Normalisation within each sample: group_norm and instance_norm over groups of channels, rms_norm over trailing axes.

Forward and backward are one kernel each, as for batch_norm and layer_norm, and the memory order of the input is kept.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..errors import DTypeError, HyperparameterError, ShapeError
from ..op import Op, Sample, Spec
from ..tensor import Tensor
from .common import array
from .composition import composed_vjp
from .elementwise import rsqrt
from .layer_norm import row_blocks, row_dots, row_means
from .normalization import single, statistics_dtype
from .reduction import mean

# -- groups of channels ------------------------------------------------------------------------------------------------


class _Pixels:
    """``x`` (N, C, ...) as (N, C, S), or as (N, S, C) where it lies channels-last, and sums over S in either."""

    def __init__(self, xp: Any, x: Any) -> None:
        self.xp = xp
        self.shape = x.shape
        moved = x.transpose(0, *range(2, x.ndim), 1)
        self.last = x.ndim > 2 and not x.flags.c_contiguous and moved.flags.c_contiguous
        self.moved = moved.shape
        self.view = self.of(x)

    def of(self, x: Any) -> Any:
        """An array of the shape of ``x`` in the same way."""
        n, c = self.shape[:2]
        if not self.last:
            return x.reshape(n, c, math.prod(self.shape[2:]))  # no -1, which a batch of none has no place for
        return x.transpose(0, *range(2, x.ndim), 1).reshape(n, math.prod(self.shape[2:]), c)

    def back(self, view: Any) -> Any:
        if not self.last:
            return view.reshape(self.shape)
        ndim = len(self.shape)
        return view.reshape(self.moved).transpose(0, ndim - 1, *range(1, ndim - 1))

    def spread(self, v: Any) -> Any:
        """(N, C) or (1, C) to broadcast with the view."""
        return v[:, None, :] if self.last else v[:, :, None]

    def sums(self, a: Any) -> Any:
        """(N, C): the view summed over the pixels."""
        if self.last:
            return self.xp.matmul(self.xp.ones((1, a.shape[1]), a.dtype), a)[:, 0]
        if a.shape[2] > 4096:  # long rows keep NumPy's pairwise sum, which rounds less
            return a.sum(axis=2)
        return a.dot(self.xp.ones(a.shape[2], a.dtype))

    def dots(self, a: Any, b: Any) -> Any:
        """(N, C): products summed over the pixels."""
        if self.xp is np and not self.last:
            return np.vecdot(a, b)
        return self.sums(a * b)


def _group_means(xp: Any, sums: Any, groups: int, count: int) -> Any:
    """(N, C) sums over the pixels -> the mean of each channel's group, (N, C)."""
    n, c = sums.shape
    means = sums.reshape(n, groups, c // groups).sum(axis=2, keepdims=True)
    means /= count
    return xp.broadcast_to(means, (n, groups, c // groups)).reshape(n, c)


def _center(xp: Any, pixels: _Pixels, view: Any, groups: int, eps: float, out: Any) -> tuple[Any, int]:
    """Samples minus their groups' means into ``out``; gives one over the standard deviations (N, C), numbers in a group."""
    count = math.prod(pixels.shape[1:]) // groups
    xp.subtract(view, pixels.spread(_group_means(xp, pixels.sums(view), groups, count)), out=out)
    var = _group_means(xp, pixels.dots(out, out), groups, count)
    return 1 / xp.sqrt(var + eps), count


def _sample_blocks(xp: Any, view: Any) -> list[slice]:
    return row_blocks(xp, view.shape[0], view.shape[1] * view.shape[2])


def _group_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    pixels = _Pixels(xp, single(x))
    view = pixels.view
    out = xp.empty(view.shape, view.dtype)
    weight, bias = (None if v is None else single(v) for v in (weight, bias))
    for block in _sample_blocks(xp, view):
        part = out[block]
        scale, _ = _center(xp, pixels, view[block], groups, eps, part)
        part *= pixels.spread(scale if weight is None else scale * weight)
        if bias is not None:
            part += pixels.spread(bias[None])
    return pixels.back(out).astype(x.dtype, copy=False)


def _group_norm_grad_forward(
    xp: Any, g: Any, x: Any, weight: Any, groups: int, eps: float, affine: bool
) -> tuple[Any, ...]:
    pixels = _Pixels(xp, single(x))
    view, g = pixels.view, pixels.of(single(g))
    out = xp.empty(view.shape, view.dtype)
    weight = None if weight is None else single(weight)
    gw, gb = xp.zeros((2, x.shape[1]), view.dtype)
    blocks = _sample_blocks(xp, view)
    scratch = xp.empty((blocks[0].stop if blocks else 0, *view.shape[1:]), view.dtype)
    for block in blocks:
        gi, part = g[block], out[block]
        centered = scratch[: part.shape[0]]
        rstd, count = _center(xp, pixels, view[block], groups, eps, centered)
        totals, along = pixels.sums(gi), pixels.dots(gi, centered) * rstd  # (N, C)
        if affine:
            gw += along.sum(axis=0)
            gb += totals.sum(axis=0)
        scale = rstd
        if weight is not None:
            scale, totals, along = rstd * weight, totals * weight, along * weight
        xp.multiply(gi, pixels.spread(scale), out=part)
        centered *= pixels.spread(rstd * rstd * _group_means(xp, along, groups, count))
        centered += pixels.spread(rstd * _group_means(xp, totals, groups, count))
        part -= centered
    gx = pixels.back(out).astype(x.dtype, copy=False)
    return (gx, gw, gb) if affine else (gx,)


def _group_norm_composed(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    n, c = x.shape[:2]
    grouped = x.reshape((n, groups, math.prod(x.shape[1:]) // groups))
    centered = grouped - mean(grouped, axis=2, keepdims=True)
    normed = centered * rsqrt(mean(centered * centered, axis=2, keepdims=True) + eps)
    out = normed.reshape(x.shape)
    column = (c,) + (1,) * (x.ndim - 2)
    if weight is not None:
        out = out * weight.reshape(column)
    return out if bias is None else out + bias.reshape(column)


def _group_norm_vjp(F: Any, g: Any, saved: Any, need: Any, groups: int, eps: float) -> Any:
    x, weight, _ = saved
    if isinstance(g, Tensor):
        composed = functools.partial(_group_norm_composed, groups=groups, eps=eps)
        return composed_vjp(composed, saved, g, need)
    affine = need[1] or need[2]
    gx, *params = F.group_norm_grad(g, x, weight, groups=groups, eps=eps, affine=affine)
    return gx, params[0] if need[1] else None, params[1] if need[2] else None


def _group_norm_cases() -> list[tuple[tuple[Any, ...], int]]:
    last = np.moveaxis(array(8, (2, 2, 3, 4)), -1, 1)
    return [
        ((array(0, (3, 4)), array(1, (4,), 0.5, 2), array(2, (4,))), 2),
        ((array(3, (2, 6, 5)), array(4, (6,), 0.5, 2), array(5, (6,))), 3),
        ((array(6, (2, 4, 2, 3)), array(7, (4,), 0.5, 2), None), 1),
        ((last, array(9, (4,), 0.5, 2), array(10, (4,))), 2),
        ((array(11, (2, 3, 2, 2)), None, None), 3),
    ]


def _group_norm_samples() -> list[Sample]:
    def call(groups: int, with_weight: bool, with_bias: bool) -> Any:
        def of(t: Any, x: Any, *params: Any) -> Any:
            weight = params[0] if with_weight else None
            bias = params[-1] if with_bias else None
            return t.nn.functional.group_norm(x, groups, weight, bias, eps=0.01)

        return of

    return [
        Sample(args, {"groups": groups, "eps": 0.01}, torch=call(groups, args[1] is not None, args[2] is not None))
        for args, groups in _group_norm_cases()
    ]


_group_norm = Op(
    "group_norm",
    _group_norm_forward,
    _group_norm_vjp,
    save=(0, 1, 2),
    cast="float32",
    heavy=True,
    abstract=lambda x, weight, bias, groups, eps: x,
    samples=_group_norm_samples,
    doc="Normalisation of each sample's groups of channels.",
)
group_norm_grad = Op(
    "group_norm_grad",
    _group_norm_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, x, weight, groups, eps, affine: (
        x,
        *(Spec(x.shape[1:2], statistics_dtype(x.dtype)),) * (2 if affine else 0),
    ),
    samples=lambda: [
        Sample((array(i + 20, x.shape), x, w), {"groups": groups, "eps": 0.01, "affine": w is not None}, grad=False)
        for i, ((x, w, _), groups) in enumerate(_group_norm_cases())
    ],
    doc="Gradients of group_norm in its input and, where asked for, in its weight and bias.",
)
_apply_group_norm = _group_norm.applier(3)


def _check(op: str, x: Any, weight: Any, bias: Any) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{op} expects inputs of shape (N, C, ...), got {tuple(x.shape)}")
    if x.dtype.kind in "biuc":
        raise DTypeError(f"{op} expects real floating inputs, got {x.dtype}")
    for name, vector in (("weight", weight), ("bias", bias)):
        if vector is not None and tuple(vector.shape) != (x.shape[1],):
            raise ShapeError(
                f"{op}: {name} must have shape ({x.shape[1]},), one number for each channel of {tuple(x.shape)}, "
                f"got {tuple(vector.shape)}"
            )
    if 0 in x.shape[1:]:
        raise ShapeError(f"{op}: no elements to take statistics of in {tuple(x.shape)}")


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise each sample's groups of channels: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Shapes: x (N, C, ...), weight and bias (C,) or ``None`` -> the shape of x. ``groups`` must divide C; the statistics of
    a group run over its C / groups channels and all pixels, ``var`` is the biased one. Channels-last memory is kept.

    Source: Y. Wu and K. He, Group Normalization, arXiv:1803.08494.
    """
    _check("group_norm", x, weight, bias)
    if not isinstance(groups, (int, np.integer)) or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"group_norm: groups={groups!r} must divide the {x.shape[1]} channels of {tuple(x.shape)}")
    return _apply_group_norm(x, weight, bias, groups=int(groups), eps=float(eps))


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise each channel of each sample over its pixels: :func:`group_norm` with a group for each channel.

    Shapes: x (N, C, ...) with at least one pixel axis, weight and bias (C,) or ``None`` -> the shape of x.

    Source: D. Ulyanov, A. Vedaldi and V. Lempitsky, Instance Normalization, arXiv:1607.08022.
    """
    _check("instance_norm", x, weight, bias)
    if x.ndim < 3 or math.prod(x.shape[2:]) == 1:
        raise ShapeError(f"instance_norm: a channel needs more than one pixel to normalise over, got {tuple(x.shape)}")
    return _apply_group_norm(x, weight, bias, groups=x.shape[1], eps=float(eps))


# -- root mean square --------------------------------------------------------------------------------------------------


def _inverse_rms(xp: Any, rows: Any, eps: float) -> Any:
    square = row_dots(xp, rows, rows)
    square /= rows.shape[1]
    square += eps
    return 1 / xp.sqrt(square)


def _rms_norm_forward(xp: Any, x: Any, weight: Any, axes: int, eps: float) -> Any:
    rows = single(x).reshape(-1, math.prod(x.shape[x.ndim - axes :]))
    out = rows * _inverse_rms(xp, rows, eps)
    if weight is not None:
        out *= weight.reshape(-1)
    return out.reshape(x.shape).astype(x.dtype, copy=False)


def _rms_norm_grad_forward(
    xp: Any, g: Any, x: Any, weight: Any, axes: int, eps: float, affine: bool
) -> tuple[Any, ...]:
    tail = x.shape[x.ndim - axes :]
    width = math.prod(tail)
    rows = single(x).reshape(-1, width)
    g = single(g).reshape(-1, width)
    inverse = _inverse_rms(xp, rows, eps)
    normed = rows * inverse
    params: tuple[Any, ...] = ()
    if weight is None:
        out = g * inverse
        along = row_means(xp, out * normed)
    else:
        product = g * normed
        if affine:
            params = (xp.ones(rows.shape[0], rows.dtype).dot(product).reshape(tail),)
        weight = single(weight).reshape(-1)
        along = product.dot(weight)[:, None]
        along *= inverse / width
        out = xp.multiply(g, weight, out=product)
        out *= inverse
    normed *= along
    out -= normed
    return (out.reshape(x.shape).astype(x.dtype, copy=False), *params)


def _rms_norm_composed(x: Any, weight: Any, axes: int, eps: float) -> Any:
    trailing = tuple(range(x.ndim - axes, x.ndim))
    out = x * rsqrt(mean(x * x, axis=trailing, keepdims=True) + eps)
    return out if weight is None else out * weight


def _rms_norm_vjp(F: Any, g: Any, saved: Any, need: Any, axes: int, eps: float) -> Any:
    x, weight = saved
    if isinstance(g, Tensor):
        return composed_vjp(functools.partial(_rms_norm_composed, axes=axes, eps=eps), saved, g, need)
    gx, *gw = F.rms_norm_grad(g, x, weight, axes=axes, eps=eps, affine=need[1])
    return gx, gw[0] if gw else None


def _rms_norm_cases() -> list[tuple[tuple[Any, ...], int]]:
    return [
        ((array(0, (3, 4)), array(1, (4,), 0.5, 2)), 1),
        ((array(3, (2, 3, 4)), None), 1),
        ((array(5, (2, 3, 4)), array(6, (3, 4), 0.5, 2)), 2),
        ((array(8, (4, 3, 2)).T, array(9, (4,))), 1),
        ((array(9, (5,)), array(10, (5,), 0.5, 2)), 1),
    ]


def _rms_norm_samples() -> list[Sample]:
    def call(axes: int) -> Any:
        return lambda t, x, *w: t.nn.functional.rms_norm(x, x.shape[x.ndim - axes :], *w, eps=0.01)

    return [Sample(args, {"axes": axes, "eps": 0.01}, torch=call(axes)) for args, axes in _rms_norm_cases()]


_rms_norm = Op(
    "rms_norm",
    _rms_norm_forward,
    _rms_norm_vjp,
    save=(0, 1),
    cast="float32",
    heavy=True,
    abstract=lambda x, weight, axes, eps: x,
    samples=_rms_norm_samples,
    doc="Division of each sample by its root mean square over trailing axes.",
)
rms_norm_grad = Op(
    "rms_norm_grad",
    _rms_norm_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, x, weight, axes, eps, affine: (
        x,
        *(Spec(x.shape[x.ndim - axes :], statistics_dtype(x.dtype)),) * (1 if affine else 0),
    ),
    samples=lambda: [
        Sample((array(i + 20, x.shape), x, w), {"axes": axes, "eps": 0.01, "affine": w is not None}, grad=False)
        for i, ((x, w), axes) in enumerate(_rms_norm_cases())
    ],
    doc="Gradients of rms_norm in its input and, where asked for, in its weight.",
)
_apply_rms_norm = _rms_norm.applier(2)


def rms_norm(x: Any, weight: Any = None, eps: float | None = None, axes: int | None = None) -> Any:
    """Divide by the root mean square over the last ``axes`` axes: ``x / sqrt(mean(x^2) + eps) * weight``.

    Shapes: x (..., *D), weight D or ``None`` -> (..., *D). ``axes`` is the length of D; by default that of the weight, 1
    without. ``eps`` is the machine epsilon of the dtype by default, as in PyTorch (float32's for half precision).

    Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    if axes is None:
        axes = 1 if weight is None else weight.ndim
    shape = tuple(x.shape)
    if not 1 <= axes <= len(shape):
        raise ShapeError(f"rms_norm: {axes} trailing axes of an input of shape {shape}")
    if x.dtype.kind in "biuc":
        raise DTypeError(f"rms_norm expects real floating inputs, got {x.dtype}")
    tail = shape[len(shape) - axes :]
    if weight is not None and tuple(weight.shape) != tail:
        raise ShapeError(
            f"rms_norm: weight must have the shape {tail} of the last axes of {shape}, got {tuple(weight.shape)}"
        )
    if 0 in tail:
        raise ShapeError(f"rms_norm: nothing to normalise over in the last axes of {shape}")
    if eps is None:
        eps = float(np.finfo(statistics_dtype(x.dtype)).eps)
    if eps < 0:
        raise HyperparameterError(f"rms_norm: eps must not be negative, got {eps!r}")
    return _apply_rms_norm(x, weight, axes=axes, eps=float(eps))
