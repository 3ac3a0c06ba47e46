"""Normalisation: batch_norm with the statistics of the batch or given ones, layer_norm over trailing axes.

Forward and backward are one kernel each. The backward kernels are ops without a rule of their own: where a graph of the
gradient is wanted, the rule is spelled out in plain ops instead, and any order works. Statistics are computed in two passes
(the mean, then the squared deviations), in float32 where the input is of half precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .conv import channel_sum
from .windows import tiled

_RUN = 1 << 16  # numbers in a row at most, where a channel vector is repeated to make long inner loops


def _statistics_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize <= 2 else dtype


def _single(x: Any) -> Any:
    """Half precision as float32; the rest as it is."""
    dtype = _statistics_dtype(x.dtype)
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


_sum_channels = channel_sum.forward


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
    x = _single(x)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    mean = _sum_channels(xp, x) / count
    centered = view - spread(mean)
    centered *= centered
    return mean, _sum_channels(xp, back(centered)) / count


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
    abstract=lambda x: (Spec(x.shape[1:2], _statistics_dtype(x.dtype)),) * 2,
    samples=lambda: [
        Sample((x,), torch=lambda t, x, a=axes: (x.mean(a), x.var(a, correction=0)))
        for x, axes in [(array(0, (4, 3)), (0,)), (array(1, (2, 3, 4)), (0, 2)), (_channels_last(2, (2, 3, 2, 3)), (0, 2, 3))]
    ],
    doc="Mean and biased variance over all axes but axis 1.",
)


def _batch_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
    dtype, x = x.dtype, _single(x)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    mean = _sum_channels(xp, x) / count
    out = view - spread(mean)
    var = _sum_channels(xp, back(out * out)) / count
    scale = 1 / xp.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    out *= spread(scale.astype(x.dtype, copy=False))
    if bias is not None:
        out += spread(bias)
    return back(out).astype(dtype, copy=False), mean, var


def _batch_norm_vjp(F: Any, g: Any, saved: Any, need: Any, eps: float) -> Any:
    x, weight, _ = saved
    gy, g_mean, g_var = g
    gx = gw = gb = None
    if gy is not None:
        if isinstance(gy, Tensor):
            gx, gw, gb = _batch_norm_by_ops(F, gy, x, weight, eps)
        else:
            gx, gw, gb = F.batch_norm_grad(gy, x, weight, *F.batch_moments(x), eps=eps)
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
    dtype, x, g = x.dtype, _single(x), _single(g)
    view, spread, back = _by_channel(xp, x)
    count = _count(x.shape)
    g = _alike(xp, g, x, view)
    rstd = 1 / xp.sqrt(var + eps)
    centered = view - spread(mean)
    out = g * centered
    gw = _sum_channels(xp, back(out)) * rstd
    gb = _sum_channels(xp, back(g))
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
    save=(0, 1, Shape(2)),
    heavy=True,
    abstract=lambda x, weight, bias, eps: (x, *(Spec(x.shape[1:2], _statistics_dtype(x.dtype)),) * 2),
    samples=_batch_norm_samples,
    doc="Normalisation by the batch's own statistics, which are the second and third result.",
)
batch_norm_grad = Op(
    "batch_norm_grad",
    _batch_norm_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, x, weight, mean, var, eps: (x, *(Spec(x.shape[1:2], _statistics_dtype(x.dtype)),) * 2),
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

    Shapes: x (N, C, ...), weight and bias (C,) or ``None`` -> y of the shape of x, mean (C,), var (C,). The statistics run
    over all axes but axis 1; ``var`` is the biased one (divided by the count), as used for the normalisation. Running
    estimates, for which PyTorch corrects the variance by ``count / (count - 1)``, are kept by the layer. All three results
    are differentiable.

    Source: S. Ioffe and C. Szegedy, Batch Normalization, arXiv:1502.03167, algorithm 1.
    """
    _check_channels("batch_norm", x, weight=weight, bias=bias)
    if not x.size:
        raise ShapeError(f"batch_norm: no elements to take statistics of in {tuple(x.shape)}")
    return _apply_batch_norm(x, weight, bias, eps=float(eps))


_apply_batch_norm = _batch_norm.applier(3)


def batch_norm_inference(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
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


# -- layer norm --------------------------------------------------------------------------------------------------------


def _row_dots(xp: Any, a: Any, b: Any) -> Any:
    """Row by row products summed: (R, D), (R, D) -> (R, 1)."""
    if xp is np:
        return np.vecdot(a, b)[:, None]
    return (a * b).sum(axis=1, keepdims=True)


def _row_means(xp: Any, a: Any) -> Any:
    """(R, D) -> (R, 1)."""
    width = a.shape[1]
    if a.dtype.char in "fd" and width <= 4096:  # longer rows keep NumPy's pairwise sum, which rounds less
        return a.dot(xp.full((width, 1), 1 / width, a.dtype))
    return a.mean(axis=1, keepdims=True)


def _normalized_rows(xp: Any, x: Any, axes: int, eps: float) -> tuple[Any, Any]:
    """Rows with mean 0 and variance 1, a new array, and one over each one's standard deviation."""
    width = math.prod(x.shape[x.ndim - axes :])
    rows = _single(x).reshape(-1, width)
    out = rows - _row_means(xp, rows)
    var = _row_dots(xp, out, out)
    var /= width
    var += eps
    rstd = 1 / xp.sqrt(var)
    out *= rstd
    return out, rstd


def _layer_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, axes: int, eps: float) -> Any:
    out, _ = _normalized_rows(xp, x, axes, eps)
    if weight is not None:
        out *= weight.reshape(-1)
    if bias is not None:
        out += bias.reshape(-1)
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
    normed, rstd = _normalized_rows(xp, x, axes, eps)
    rows, width = normed.shape
    g = _single(g).reshape(rows, width)
    gn = g * (1 if weight is None else weight.reshape(-1))
    params: tuple[Any, ...] = ()
    if affine:
        ones, tail = xp.ones(rows, normed.dtype), x.shape[x.ndim - axes :]
        params = (ones.dot(g * normed).reshape(tail), ones.dot(g).reshape(tail))
    mean = _row_means(xp, gn)
    along = _row_dots(xp, gn, normed)
    along /= width
    normed *= along
    gn -= normed
    gn -= mean
    gn *= rstd
    return (gn.reshape(x.shape).astype(x.dtype, copy=False), *params)


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
    params = (Spec(x.shape[x.ndim - axes :], _statistics_dtype(x.dtype)),) * 2 if affine else ()
    return (x, *params)


_layer_norm = Op(
    "layer_norm",
    _layer_norm_forward,
    _layer_norm_vjp,
    save=(0, 1, Shape(2)),
    heavy=True,
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
            raise ShapeError(f"layer_norm: {name} must have the shape {tail} of the last axes of {shape}, got {vector.shape}")
    if 0 in tail:
        raise ShapeError(f"layer_norm: nothing to normalise over in the last axes of {shape}")
    return _apply_layer_norm(x, weight, bias, axes=axes, eps=float(eps))


_apply_layer_norm = _layer_norm.applier(3)
