"""Normalisation: batch_norm with the statistics of the batch or given ones, layer_norm over trailing axes.

Forward and backward are one kernel each. The backward kernels are ops without a rule of their own: where a graph of
the gradient is wanted, the rule is spelled out in plain ops instead, and any order works. Statistics are computed in
two passes (the mean, then the squared deviations), in float32 where the input is of half precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Result, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .conv import sum_channels
from .windows import tiled

_RUN = 1 << 16  # numbers in a row at most, where a channel vector is repeated to make long inner loops


def statistics_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize <= 2 else dtype


def single(x: Any) -> Any:
    """Half precision as float32; the rest as it is."""
    dtype = statistics_dtype(x.dtype)
    return x if x.dtype == dtype else x.astype(dtype)


# -- channels ----------------------------------------------------------------------------------------------------------


def _by_channel(xp: Any, x: Any) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    """How to compute with one number for each channel of ``x`` (N, C, ...) along the memory.

    Gives a view of ``x``, a function that brings a vector (C,) into a shape that broadcasts with the view, and one that
    brings an array like the view back into the shape of ``x``. Channels-last memory is seen as rows of many pixels.
    """
    ndim, c = x.ndim, x.shape[1]
    y = x.transpose(0, *range(2, ndim), 1)
    if not y.flags.c_contiguous or not x.size:
        return x, lambda v: v.reshape((c,) + (1,) * (ndim - 2)), lambda v: v
    pixels = math.prod(x.shape[2:])
    repeats = pixels if pixels * c <= _RUN else x.shape[-1] if ndim > 2 else 1
    back = (0, ndim - 1, *range(1, ndim - 1))
    return y.reshape(-1, repeats * c), lambda v: tiled(v, repeats), lambda v: v.reshape(y.shape).transpose(back)


def _alike(xp: Any, g: Any, x: Any, view: Any) -> Any:
    """``g``, of the shape of ``x``, as an array like the view of ``x``."""
    if view is x:
        return g
    y = g.transpose(0, *range(2, g.ndim), 1)
    return (y if y.flags.c_contiguous else xp.ascontiguousarray(y)).reshape(view.shape)


def _channel_affine_forward(xp: Any, x: Any, scale: Any, shift: Any) -> Any:
    view, spread, back = _by_channel(xp, x)
    out = view * spread(scale.astype(x.dtype, copy=False))
    if shift is not None:
        out += spread(shift)
    return back(out)


channel_affine = Op(
    "channel_affine",
    _channel_affine_forward,
    lambda F, g, saved, need: (
        F.channel_affine(g, saved[1], None) if need[0] else None,
        F.channel_sum(g * saved[0]) if need[1] else None,
        F.channel_sum(g) if need[2] else None,
    ),
    save=(0, 1),
    heavy=True,
    abstract=lambda x, scale, shift: x,
    samples=lambda: [
        Sample((array(0, (3, 2)), array(1, (2,)), array(2, (2,))), torch=lambda t, x, a, b: x * a + b),
        Sample(
            (_channels_last(3, (2, 3, 2, 4)), array(4, (3,)), array(5, (3,))),
            torch=lambda t, x, a, b: x * a[:, None, None] + b[:, None, None],
        ),
        Sample((array(6, (2, 3, 4)), array(7, (3,)), None), torch=lambda t, x, a: x * a[:, None]),
    ],
    doc="``x * scale + shift`` with one scale and one shift for each channel of (N, C, ...).",
)


# -- batch norm --------------------------------------------------------------------------------------------------------


def _count(shape: tuple[int, ...]) -> int:
    return math.prod(shape) // max(shape[1], 1)


def _moments_forward(xp: Any, x: Any) -> Any:
    x = single(x)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    mean = sum_channels(xp, x) / count
    centered = view - spread(mean)
    centered *= centered
    return mean, sum_channels(xp, back(centered)) / count


def _moments_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    count, column = _count(x.shape), (1, -1) + (1,) * (x.ndim - 2)
    axes = (0, *range(2, x.ndim))
    gx = None
    if g[0] is not None:
        gx = F.broadcast_to((g[0] / count).reshape(column), x.shape)
    if g[1] is not None:
        part = (x - F.mean(x, axis=axes, keepdims=True)) * (g[1] * (2 / count)).reshape(column)
        gx = part if gx is None else gx + part
    return (gx,)


batch_moments = Op(
    "batch_moments",
    _moments_forward,
    _moments_vjp,
    save=0,
    heavy=True,
    cast="float32",
    abstract=lambda x: (Spec(x.shape[1:2], statistics_dtype(x.dtype)),) * 2,
    samples=lambda: [
        Sample((x,), torch=lambda t, x, a=axes: (x.mean(a), x.var(a, correction=0)))
        for x, axes in [
            (array(0, (4, 3)), (0,)),
            (array(1, (2, 3, 4)), (0, 2)),
            (_channels_last(2, (2, 3, 2, 3)), (0, 2, 3)),
        ]
    ],
    doc="Mean and biased variance over all axes but axis 1.",
)


def _batch_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
    dtype, x = x.dtype, single(x)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    mean = sum_channels(xp, x) / count
    out = view - spread(mean)
    var = sum_channels(xp, back(out * out)) / count
    scale = 1 / xp.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    out *= spread(scale.astype(x.dtype, copy=False))
    if bias is not None:
        out += spread(bias)
    return back(out).astype(dtype, copy=False), mean, var


def _batch_norm_vjp(F: Any, g: Any, saved: Any, need: Any, eps: float) -> Any:
    x, weight, _, mean, var = saved
    gy, g_mean, g_var = g
    gx = gw = gb = None
    if gy is not None:
        if isinstance(gy, Tensor):
            gx, gw, gb = _batch_norm_by_ops(F, gy, x, weight, eps)
        else:
            gx, gw, gb = F.batch_norm_grad(gy, x, weight, mean, var, eps=eps)
    if g_mean is not None or g_var is not None:  # the statistics themselves were used
        (part,) = _moments_vjp(F, (g_mean, g_var), x, need)
        gx = part if gx is None else gx + part
    return gx, gw if need[1] else None, gb if need[2] else None


def _batch_norm_by_ops(F: Any, g: Any, x: Any, weight: Any, eps: float) -> Any:
    axes, column = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    centered = x - F.mean(x, axis=axes, keepdims=True)
    rstd = F.rsqrt(F.mean(centered * centered, axis=axes, keepdims=True) + eps)
    normed = centered * rstd
    gn = g if weight is None else g * weight.reshape(column)
    along = F.mean(gn * normed, axis=axes, keepdims=True)
    gx = rstd * (gn - F.mean(gn, axis=axes, keepdims=True) - normed * along)
    return gx, F.sum(g * normed, axis=axes), F.sum(g, axis=axes)


def _batch_norm_grad_forward(xp: Any, g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> Any:
    dtype, x, g = x.dtype, single(x), single(g)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    g = _alike(xp, g, x, view)
    rstd = 1 / xp.sqrt(var + eps)
    centered = view - spread(mean)
    out = g * centered
    gw = sum_channels(xp, back(out)) * rstd
    gb = sum_channels(xp, back(g))
    scale = rstd if weight is None else (rstd * weight).astype(x.dtype, copy=False)
    xp.multiply(g, spread(scale), out=out)
    centered *= spread(scale * rstd * gw * (-1 / count))
    out += centered
    out += spread(scale * gb * (-1 / count))
    return back(out).astype(dtype, copy=False), gw, gb


def _channels_last(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    n, c, *rest = shape
    return np.moveaxis(array(seed, (n, *rest, c)), -1, 1)


def _batch_norm_cases() -> list[tuple[Any, ...]]:
    return [
        (array(0, (5, 3)), array(1, (3,), 0.5, 2), array(2, (3,))),
        (array(3, (3, 2, 4)), array(4, (2,), 0.5, 2), array(5, (2,))),
        (array(6, (2, 3, 2, 3)), array(7, (3,), 0.5, 2), None),
        (_channels_last(8, (2, 3, 2, 3)), array(9, (3,), 0.5, 2), array(10, (3,))),
        (_channels_last(11, (3, 2, 2, 2)), None, None),
    ]


def _batch_norm_samples() -> list[Sample]:
    def call(with_weight: bool, with_bias: bool) -> Any:
        def of(t: Any, x: Any, *params: Any) -> Any:
            weight = params[0] if with_weight else None
            bias = params[1] if with_bias else None
            return (t.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=0.01),)

        return of

    return [
        Sample((x, w, b), {"eps": 0.01}, torch=call(w is not None, b is not None)) for x, w, b in _batch_norm_cases()
    ]


def _batch_norm_grad_samples() -> list[Sample]:
    samples = []
    for i, (x, w, _) in enumerate(_batch_norm_cases()):
        axes = (0, *range(2, x.ndim))
        samples.append(Sample((array(i + 20, x.shape), x, w, x.mean(axes), x.var(axes)), {"eps": 0.01}, grad=False))
    return samples


_batch_norm = Op(
    "batch_norm",
    _batch_norm_forward,
    _batch_norm_vjp,
    save=(0, 1, Shape(2), Result(1), Result(2)),
    heavy=True,
    cast="float32",
    abstract=lambda x, weight, bias, eps: (x, *(Spec(x.shape[1:2], statistics_dtype(x.dtype)),) * 2),
    samples=_batch_norm_samples,
    doc="Normalisation by the batch's own statistics, which are the second and third result.",
)
batch_norm_grad = Op(
    "batch_norm_grad",
    _batch_norm_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, x, weight, mean, var, eps: (x, *(Spec(x.shape[1:2], statistics_dtype(x.dtype)),) * 2),
    samples=_batch_norm_grad_samples,
    doc="Gradients of batch_norm in its input, weight and bias, from the batch's mean and biased variance.",
)


def _check_channels(op: str, x: Any, **vectors: Any) -> None:
    shape = x.shape
    if len(shape) < 2:
        raise ShapeError(f"{op} expects inputs of shape (N, C, ...), got {tuple(shape)}")
    if x.dtype.kind in "biuc":
        raise DTypeError(f"{op} expects real floating inputs, got {x.dtype}")
    for name, vector in vectors.items():
        if vector is not None and tuple(vector.shape) != shape[1:2]:
            raise ShapeError(
                f"{op}: {name} must have shape ({shape[1]},), one number for each channel of {tuple(shape)}, "
                f"got {tuple(vector.shape)}"
            )


def batch_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """Normalise each channel by the mean and variance of the batch: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Shapes: x (N, C, ...), weight and bias (C,) or ``None`` -> y of the shape of x, mean (C,), var (C,). The
    statistics run over all axes but axis 1; ``var`` is the biased one (divided by the count), as used for the
    normalisation. Running estimates, for which PyTorch corrects the variance by ``count / (count - 1)``, are kept by
    the layer. All three results are differentiable.

    Source: S. Ioffe and C. Szegedy, Batch Normalization, arXiv:1502.03167, algorithm 1.
    """
    _check_channels("batch_norm", x, weight=weight, bias=bias)
    if not x.size:
        raise ShapeError(f"batch_norm: no elements to take statistics of in {tuple(x.shape)}")
    return _apply_batch_norm(x, weight, bias, eps=float(eps))


_apply_batch_norm = _batch_norm.applier(3)


def batch_norm_inference(x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """:func:`batch_norm` by given statistics ``mean`` and ``var`` (C,): an affine map of each channel.

    Differentiable in all inputs.
    """
    _check_channels("batch_norm_inference", x, mean=mean, var=var, weight=weight, bias=bias)
    from .elementwise import rsqrt

    scale = rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    if bias is not None:
        shift = shift + bias
    return channel_affine(x, scale, shift)
