"""Normalisation by oneDNN: batch_norm of channels-last arrays, layer_norm of rows, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl
from .dnnl import API, Handle, Unsupported
from .plans import FLOAT32, Memory, Plan, Plans, Run, channels_last, lies, row_major, strides_of

_VECTOR = 16
"""oneDNN's batch normalisation is fast where the channels fill its vectors, and slower than the reference elsewhere."""


def _is_single(*arrays: Any) -> bool:
    """Whether all that are given are float32."""
    return all(a is None or a.dtype == FLOAT32 for a in arrays)


def _strides(*arrays: Any) -> tuple[Any, ...]:
    return tuple(None if a is None else a.strides for a in arrays)


def _flags(scale: Any, shift: Any) -> int:
    return (0 if scale is None else dnnl.USE_SCALE) | (0 if shift is None else dnnl.USE_SHIFT)


# -- batch norm --------------------------------------------------------------------------------------------------------


class _Channels:
    """An array (N, C, ...) whose channels lie densest, which oneDNN sees as images of one row."""

    def __init__(self, api: API, shape: Any, strides: Any) -> None:
        self.shape = shape
        n, c = shape[:2]
        if 0 in shape or c % _VECTOR:
            raise Unsupported("channels")
        if not lies(shape, strides_of(strides), channels_last(shape)):
            raise Unsupported("strides")
        self.count = c
        view = (n, c, 1, math.prod(shape[2:]))
        self.layout = api.strided(view, channels_last(view))
        self.vector = api.strided((c,), (1,))
        self._memory_shape = (n, *shape[2:], c)
        self._order = (0, len(shape) - 1, *range(1, len(shape) - 1))

    def check(self, *strides: Any) -> None:
        """Refuse vectors that do not lie densely."""
        if any(s is not None and not lies((self.count,), strides_of(s), (1,)) for s in strides):
            raise Unsupported("strides of a vector")

    def new(self) -> np.ndarray:
        return np.empty(self._memory_shape, FLOAT32).transpose(self._order)


def _batch_norm(api: API, layout: Handle, kind: int, eps: float, flags: int) -> Handle:
    return api.describe("batch_normalization_forward", kind, layout, layout, eps, flags)


def _batch_norm_plan(api: API, key: Any) -> Run:
    shape, strides, weight_strides, bias_strides, eps = key
    channels = _Channels(api, shape, strides)
    channels.check(weight_strides, bias_strides)
    plan = Plan(api)
    described = _batch_norm(api, channels.layout, dnnl.FORWARD_TRAINING, eps, _flags(weight_strides, bias_strides))
    roles = {dnnl.SRC: plan.operand(channels.layout), dnnl.DST: plan.operand(channels.layout)}
    roles[dnnl.MEAN], roles[dnnl.VARIANCE] = plan.operand(channels.vector), plan.operand(channels.vector)
    if weight_strides is not None:
        roles[dnnl.SCALE] = plan.operand(channels.vector)
    if bias_strides is not None:
        roles[dnnl.SHIFT] = plan.operand(channels.vector)
    plan.step(described, roles)
    run, count = plan.finish(), channels.count

    def normalize(x: Any, weight: Any, bias: Any) -> Any:
        out, mean, var = channels.new(), np.empty(count, FLOAT32), np.empty(count, FLOAT32)
        run(x, out, mean, var, *[v for v in (weight, bias) if v is not None])
        return out, mean, var

    return normalize


def _moments_plan(api: API, key: Any) -> Run:
    shape, strides = key
    channels = _Channels(api, shape, strides)
    plan = Plan(api)
    roles = {dnnl.SRC: plan.operand(channels.layout), dnnl.DST: plan.temporary(channels.layout)}
    roles[dnnl.MEAN], roles[dnnl.VARIANCE] = plan.operand(channels.vector), plan.operand(channels.vector)
    plan.step(_batch_norm(api, channels.layout, dnnl.FORWARD_TRAINING, 1.0, 0), roles)
    run, count = plan.finish(), channels.count

    def moments(x: Any) -> Any:
        mean, var = np.empty(count, FLOAT32), np.empty(count, FLOAT32)
        run(x, mean, var)
        return mean, var

    return moments


def _affine_plan(api: API, key: Any) -> Run:
    """The normalisation with given statistics, mean 0 and variance 1: a number and an offset for each channel."""
    shape, strides, scale_strides, shift_strides = key
    channels = _Channels(api, shape, strides)
    channels.check(scale_strides, shift_strides)
    plan = Plan(api)
    flags = dnnl.USE_GLOBAL_STATS | _flags(scale_strides, shift_strides)
    described = _batch_norm(api, channels.layout, dnnl.FORWARD_INFERENCE, 0.0, flags)
    roles = {dnnl.SRC: plan.operand(channels.layout), dnnl.DST: plan.operand(channels.layout)}
    roles[dnnl.MEAN] = plan.constant(channels.vector, np.zeros(channels.count, FLOAT32))
    roles[dnnl.VARIANCE] = plan.constant(channels.vector, np.ones(channels.count, FLOAT32))
    roles[dnnl.SCALE] = plan.operand(channels.vector)
    if shift_strides is not None:
        roles[dnnl.SHIFT] = plan.operand(channels.vector)
    plan.step(described, roles)
    run = plan.finish()

    def affine(x: Any, scale: Any, shift: Any) -> Any:
        out = channels.new()
        run(x, out, *[v for v in (scale, shift) if v is not None])
        return out

    return affine


def _batch_norm_grad_plan(api: API, key: Any) -> Run:
    g_strides, shape, strides, weight_strides, mean_strides, var_strides, eps = key
    channels = _Channels(api, shape, strides)
    channels.check(weight_strides, mean_strides, var_strides)
    plan = Plan(api)
    flags = dnnl.USE_SCALE | dnnl.USE_SHIFT  # also without a weight, for the gradients that belong to it
    forward = _batch_norm(api, channels.layout, dnnl.FORWARD_TRAINING, eps, flags)
    layouts = [channels.layout] * 3
    described = api.describe("batch_normalization_backward", dnnl.BACKWARD, *layouts, eps, flags, forward)
    g = _like_channels(plan, shape, g_strides, channels.layout)
    roles = {dnnl.DIFF_DST: plan.as_layout(g, channels.layout), dnnl.SRC: plan.operand(channels.layout)}
    for role in (dnnl.MEAN, dnnl.VARIANCE):
        roles[role] = plan.operand(channels.vector)
    roles[dnnl.DIFF_SRC] = plan.operand(channels.layout)
    for role in (dnnl.DIFF_SCALE, dnnl.DIFF_SHIFT):
        roles[role] = plan.operand(channels.vector)
    if weight_strides is None:
        roles[dnnl.SCALE] = plan.constant(channels.vector, np.ones(channels.count, FLOAT32))
    else:
        roles[dnnl.SCALE] = plan.operand(channels.vector)
    plan.step(described, roles)
    run, count = plan.finish(), channels.count

    def gradients(g: Any, x: Any, weight: Any, mean: Any, var: Any) -> Any:
        gx, gw, gb = channels.new(), np.empty(count, FLOAT32), np.empty(count, FLOAT32)
        if weight is None:
            run(g, x, mean, var, gx, gw, gb)
        else:
            run(g, x, mean, var, gx, gw, gb, weight)
        return gx, gw, gb

    return gradients


def _like_channels(plan: Plan, shape: Any, byte_strides: Any, layout: Handle) -> Memory:
    """An operand that lies channels-last, or as rows of pixels for each channel."""
    strides = strides_of(byte_strides)
    if lies(shape, strides, channels_last(shape)):
        return plan.operand(layout)
    if not lies(shape, strides, row_major(shape)):
        raise Unsupported("strides")
    view = (*shape[:2], 1, math.prod(shape[2:]))
    return plan.operand(plan.api.strided(view, row_major(view)))


# -- layer norm --------------------------------------------------------------------------------------------------------


class _Rows:
    """A dense array seen as rows of the axes that are normalised."""

    def __init__(self, api: API, shape: Any, strides: Any, axes: int) -> None:
        if 0 in shape or not lies(shape, strides_of(strides), row_major(shape)):
            raise Unsupported("strides")
        self.shape = shape
        self.tail = shape[len(shape) - axes :]
        width = math.prod(self.tail)
        rows = math.prod(shape) // width
        self.layout = api.strided((rows, width), (width, 1))
        self.statistics = api.strided((rows,), (1,))
        self.vector = api.strided((width,), (1,))

    def check(self, *strides: Any) -> None:
        """Refuse weights that do not lie densely."""
        if any(s is not None and not lies(self.tail, strides_of(s), row_major(self.tail)) for s in strides):
            raise Unsupported("strides of a weight")

    def forward(self, api: API, kind: int, eps: float, flags: int) -> Handle:
        return api.describe("layer_normalization_forward", kind, self.layout, self.layout, self.statistics, eps, flags)


def _layer_norm_plan(api: API, key: Any) -> Run:
    shape, strides, weight_strides, bias_strides, axes, eps = key
    rows = _Rows(api, shape, strides, axes)
    rows.check(weight_strides, bias_strides)
    plan = Plan(api)
    roles = {dnnl.SRC: plan.operand(rows.layout), dnnl.DST: plan.operand(rows.layout)}
    if weight_strides is not None:
        roles[dnnl.SCALE] = plan.operand(rows.vector)
    if bias_strides is not None:
        roles[dnnl.SHIFT] = plan.operand(rows.vector)
    plan.step(rows.forward(api, dnnl.FORWARD_INFERENCE, eps, _flags(weight_strides, bias_strides)), roles)
    run = plan.finish()

    def normalize(x: Any, weight: Any, bias: Any) -> Any:
        out = np.empty(shape, FLOAT32)
        run(x, out, *[v for v in (weight, bias) if v is not None])
        return out

    return normalize


def _layer_norm_grad_plan(api: API, key: Any) -> Run:
    g_strides, shape, strides, weight_strides, axes, eps, affine = key
    rows = _Rows(api, shape, strides, axes)
    rows.check(weight_strides)
    if not lies(shape, strides_of(g_strides), row_major(shape)):
        raise Unsupported("strides")
    plan = Plan(api)
    flags = dnnl.USE_SCALE | dnnl.USE_SHIFT if affine else _flags(weight_strides, None)
    g, x = plan.operand(rows.layout), plan.operand(rows.layout)
    mean, variance = plan.temporary(rows.statistics), plan.temporary(rows.statistics)
    # the statistics again, which the forward run did not keep; the rest of what this step computes is not used
    statistics = rows.forward(api, dnnl.FORWARD_TRAINING, eps, 0)
    normed = plan.temporary(rows.layout)
    plan.step(statistics, {dnnl.SRC: x, dnnl.DST: normed, dnnl.MEAN: mean, dnnl.VARIANCE: variance})
    forward = rows.forward(api, dnnl.FORWARD_TRAINING, eps, flags)
    layouts = (rows.layout, rows.layout, rows.layout, rows.statistics)
    described = api.describe("layer_normalization_backward", dnnl.BACKWARD, *layouts, eps, flags, forward)
    roles = {dnnl.DIFF_DST: g, dnnl.SRC: x, dnnl.MEAN: mean, dnnl.VARIANCE: variance}
    roles[dnnl.DIFF_SRC] = plan.operand(rows.layout)
    zeros = np.zeros(math.prod(rows.tail), FLOAT32)
    if flags & dnnl.USE_SCALE:
        gradient = plan.operand(rows.vector) if affine else plan.temporary(rows.vector)
        roles[dnnl.DIFF_SCALE] = gradient
    if flags & dnnl.USE_SHIFT:
        roles[dnnl.DIFF_SHIFT] = plan.operand(rows.vector)
        roles[dnnl.SHIFT] = plan.constant(rows.vector, zeros)  # asked for, though no gradient depends on it
    if flags & dnnl.USE_SCALE:
        roles[dnnl.SCALE] = (
            plan.constant(rows.vector, zeros + 1) if weight_strides is None else plan.operand(rows.vector)
        )
    plan.step(described, roles)
    run, tail = plan.finish(), rows.tail

    def gradients(g: Any, x: Any, weight: Any) -> Any:
        out: tuple[Any, ...] = (np.empty(shape, FLOAT32),)
        if affine:
            out = (*out, np.empty(tail, FLOAT32), np.empty(tail, FLOAT32))
        run(g, x, *out, *(() if weight is None else (weight,)))
        return out

    return gradients


_norm = Plans(_batch_norm_plan)
_affine = Plans(_affine_plan)
_norm_grad = Plans(_batch_norm_grad_plan)
_moments = Plans(_moments_plan)
_layer = Plans(_layer_norm_plan)
_layer_grad = Plans(_layer_norm_grad_plan)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The op ``batch_norm`` in float32."""
    if not _is_single(x, weight, bias):
        return NotImplemented
    key = (x.shape, x.strides, *_strides(weight, bias), eps)
    run = _norm.table.get(key)
    if run is None:
        run = _norm.add(key)
    return run(x, weight, bias)


def channel_affine(x: Any, scale: Any, shift: Any) -> Any:
    """The op ``channel_affine`` in float32."""
    if not _is_single(x, scale, shift):
        return NotImplemented
    key = (x.shape, x.strides, *_strides(scale, shift))
    run = _affine.table.get(key)
    if run is None:
        run = _affine.add(key)
    return run(x, scale, shift)


def batch_moments(x: Any) -> Any:
    """The op ``batch_moments`` in float32."""
    if x.dtype != FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides)
    run = _moments.table.get(key)
    if run is None:
        run = _moments.add(key)
    return run(x)


def batch_norm_grad(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> Any:
    """The op ``batch_norm_grad`` in float32."""
    if not _is_single(g, x, weight, mean, var):
        return NotImplemented
    key = (g.strides, x.shape, x.strides, *_strides(weight, mean, var), eps)
    run = _norm_grad.table.get(key)
    if run is None:
        run = _norm_grad.add(key)
    return run(g, x, weight, mean, var)


def layer_norm(x: Any, weight: Any, bias: Any, axes: int, eps: float) -> Any:
    """The op ``layer_norm`` in float32."""
    if not _is_single(x, weight, bias):
        return NotImplemented
    key = (x.shape, x.strides, *_strides(weight, bias), axes, eps)
    run = _layer.table.get(key)
    if run is None:
        run = _layer.add(key)
    return run(x, weight, bias)


def layer_norm_grad(g: Any, x: Any, weight: Any, axes: int, eps: float, affine: bool) -> Any:
    """The op ``layer_norm_grad`` in float32."""
    if not _is_single(g, x, weight):
        return NotImplemented
    key = (g.strides, x.shape, x.strides, *_strides(weight), axes, eps, affine)
    run = _layer_grad.table.get(key)
    if run is None:
        run = _layer_grad.add(key)
    return run(g, x, weight)


KERNELS: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm,
    "channel_affine": channel_affine,
    "batch_moments": batch_moments,
    "batch_norm_grad": batch_norm_grad,
    "layer_norm": layer_norm,
    "layer_norm_grad": layer_norm_grad,
}
