"""Pooling of images by oneDNN, channels-last: maxima with and without positions, averages, and their adjoints.

Images that lie otherwise are left to the reference, whose result lies as they do.

oneDNN's maximum passes over NaN, and starts from the lowest finite number instead of minus infinity. Images in which the sum of
a row is no number of a usual size are therefore left to the reference; the plan sums the rows beside the pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl
from .dnnl import API, Handle, Unsupported
from .plans import FLOAT32, Memory, Plan, Plans, Run, channels_last, image_operand, images_like, lies, strides_of

_BYTE = np.dtype(np.uint8)
_LIMIT = np.float32(1e37)


def _usual(sums: Any) -> bool:
    """Whether no sum is NaN, infinite, or near the limits of float32."""
    return bool(np.minimum.reduce(sums) > -_LIMIT and np.maximum.reduce(sums) < _LIMIT)


class _Windows:
    """The geometry of a pooling (N, C, H, W) -> (N, C, OH, OW), as oneDNN wants it."""

    def __init__(self, x: Any, counts: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
        self.x, self.y = x, (*x[:2], *counts)
        if 0 in self.x or 0 in self.y:
            raise Unsupported("nothing to compute")
        after = []
        self.overhangs = False  # a last window reaches beyond the padding
        for n, o, k, s, p, d in zip(x[2:], counts, kernel, stride, padding, dilation):
            needed = (o - 1) * s + (k - 1) * d + 1 - n - p
            self.overhangs |= needed > p
            after.append(max(needed, p))
        self.geometry = (
            dnnl.dims(stride), dnnl.dims(kernel), dnnl.dims([d - 1 for d in dilation]), dnnl.dims(padding), dnnl.dims(after),
        )  # fmt: skip

    def images(self, api: API, shape: tuple[int, ...]) -> Handle:
        return api.strided(shape, channels_last(shape))

    def forward(self, api: API, algorithm: int, kind: int) -> Handle:
        layouts = self.images(api, self.x), self.images(api, self.y)
        return api.describe("pooling_forward", kind, algorithm, *layouts, *self.geometry)

    def backward(self, api: API, algorithm: int) -> tuple[Handle, Handle]:
        """The descriptor, and that of the forward run that it belongs to."""
        forward = self.forward(api, algorithm, dnnl.FORWARD_TRAINING)
        layouts = self.images(api, self.x), self.images(api, self.y)
        return api.describe("pooling_backward", algorithm, *layouts, *self.geometry, forward), forward


def _positions(api: API, described: Handle, shape: tuple[int, ...]) -> Handle:
    """The layout of the positions of maxima, if oneDNN keeps them as this project does: a byte each, channels-last."""
    layout = api.layout(described, dnnl.WORKSPACE_MD)
    expected = api.strided(shape, channels_last(shape), dnnl.U8)
    if layout is None or not api.same(layout, expected):
        raise Unsupported("positions")
    return layout


def _source(plan: Plan, windows: _Windows, byte_strides: Any) -> Memory:
    """The images that are pooled, channels-last as the result."""
    if not lies(windows.x, strides_of(byte_strides), channels_last(windows.x)):
        raise Unsupported("images that do not lie channels-last")
    return plan.operand(windows.images(plan.api, windows.x))


# -- maxima ------------------------------------------------------------------------------------------------------------


def _max(api: API, key: Any, kind: int) -> tuple[Plan, _Windows, np.ndarray]:
    """The plan of a maximum, and where it puts the sums of the images' rows."""
    shape, strides, kernel, stride, padding, dilation, counts = key
    windows = _Windows(shape, counts, kernel, stride, padding, dilation)
    described = windows.forward(api, dnnl.POOLING_MAX, kind)
    n, c, h, w = shape
    plan = Plan(api)
    x = _source(plan, windows, strides)
    sums = plan.sums(plan.view(x, api.strided((n * h, w * c), (w * c, 1))), n * h)
    roles = {dnnl.SRC: x, dnnl.DST: plan.operand(windows.images(api, windows.y))}
    if kind == dnnl.FORWARD_TRAINING:
        roles[dnnl.WORKSPACE] = plan.operand(_positions(api, described, windows.y))
    plan.step(described, roles)
    return plan, windows, sums


def _max_plan(api: API, key: Any) -> Run:
    plan, windows, sums = _max(api, key, dnnl.FORWARD_INFERENCE)
    run, out_shape = plan.finish(), windows.y

    def pool(x: Any) -> Any:
        out = images_like(out_shape)
        run(x, out)
        return out if _usual(sums) else NotImplemented

    return pool


def _max_index_plan(api: API, key: Any) -> Run:
    plan, windows, sums = _max(api, key, dnnl.FORWARD_TRAINING)
    run, out_shape = plan.finish(), windows.y

    def pool(x: Any) -> Any:
        out, index = images_like(out_shape), images_like(out_shape, _BYTE)
        run(x, out, index)
        return (out, index) if _usual(sums) else NotImplemented

    return pool


def _max_grad_plan(api: API, key: Any) -> Run:
    shape, strides, index_strides, size, kernel, stride, padding, dilation, counts = key
    x_shape = (*shape[:2], *size)
    windows = _Windows(x_shape, counts, kernel, stride, padding, dilation)
    described, forward = windows.backward(api, dnnl.POOLING_MAX)
    if not lies(shape, strides_of(index_strides, 1), channels_last(shape)):
        raise Unsupported("images that did not lie channels-last")
    plan = Plan(api)
    g, index = image_operand(plan, shape, strides), image_operand(plan, shape, index_strides, dnnl.U8)
    roles = {
        dnnl.DIFF_DST: plan.as_layout(g, windows.images(api, shape)),
        dnnl.WORKSPACE: plan.as_layout(index, _positions(api, forward, shape)),
        dnnl.DIFF_SRC: plan.operand(windows.images(api, x_shape)),
    }
    plan.step(described, roles)
    run = plan.finish()

    def spread(g: Any, index: Any) -> Any:
        out = images_like(x_shape)
        run(g, index, out)
        return out

    return spread


# -- averages ----------------------------------------------------------------------------------------------------------


def _average(windows: _Windows, count_include_pad: bool) -> int:
    if not count_include_pad:
        return dnnl.POOLING_AVG_EXCLUDE_PADDING
    if windows.overhangs:  # what lies beyond the padding never counts; for oneDNN it does
        raise Unsupported("overhanging windows")
    return dnnl.POOLING_AVG_INCLUDE_PADDING


def _avg_plan(api: API, key: Any) -> Run:
    shape, strides, kernel, stride, padding, counts, count_include_pad = key
    windows = _Windows(shape, counts, kernel, stride, padding, (1, 1))
    described = windows.forward(api, _average(windows, count_include_pad), dnnl.FORWARD_INFERENCE)
    plan = Plan(api)
    roles = {
        dnnl.SRC: _source(plan, windows, strides),
        dnnl.DST: plan.operand(windows.images(api, windows.y)),
    }
    plan.step(described, roles)
    run, out_shape = plan.finish(), windows.y

    def pool(x: Any) -> Any:
        out = images_like(out_shape)
        run(x, out)
        return out

    return pool


def _avg_grad_plan(api: API, key: Any) -> Run:
    shape, strides, size, kernel, stride, padding, counts, count_include_pad = key
    x_shape = (*shape[:2], *size)
    windows = _Windows(x_shape, counts, kernel, stride, padding, (1, 1))
    described, _ = windows.backward(api, _average(windows, count_include_pad))
    if not lies(shape, strides_of(strides), channels_last(shape)):
        raise Unsupported("a gradient that does not lie channels-last")
    plan = Plan(api)
    roles = {
        dnnl.DIFF_DST: plan.operand(windows.images(api, shape)),
        dnnl.DIFF_SRC: plan.operand(windows.images(api, x_shape)),
    }
    plan.step(described, roles)
    run = plan.finish()

    def share(g: Any) -> Any:
        out = images_like(x_shape)
        run(g, out)
        return out

    return share


_maxima = Plans(_max_plan)
_max_index = Plans(_max_index_plan)
_max_grad = Plans(_max_grad_plan)
_avg = Plans(_avg_plan)
_avg_grad = Plans(_avg_grad_plan)


def max_pool2d(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, counts: Any) -> Any:
    """The op ``max_pool2d`` in float32."""
    if x.dtype != FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides, kernel, stride, padding, dilation, counts)
    run = _maxima.table.get(key)
    if run is None:
        run = _maxima.add(key)
    return run(x)


def max_pool2d_with_index(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, counts: Any) -> Any:
    """The op ``max_pool2d_with_index`` in float32."""
    if x.dtype != FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides, kernel, stride, padding, dilation, counts)
    run = _max_index.table.get(key)
    if run is None:
        run = _max_index.add(key)
    return run(x)


def max_pool2d_grad(
    g: Any, index: Any, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, counts: Any
) -> Any:
    """The op ``max_pool2d_grad`` in float32."""
    if g.dtype != FLOAT32 or index.dtype != _BYTE:
        return NotImplemented
    key = (g.shape, g.strides, index.strides, size, kernel, stride, padding, dilation, counts)
    run = _max_grad.table.get(key)
    if run is None:
        run = _max_grad.add(key)
    return run(g, index)


def avg_pool2d(x: Any, kernel: Any, stride: Any, padding: Any, counts: Any, count_include_pad: bool) -> Any:
    """The op ``avg_pool2d`` in float32."""
    if x.dtype != FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides, kernel, stride, padding, counts, count_include_pad)
    run = _avg.table.get(key)
    if run is None:
        run = _avg.add(key)
    return run(x)


def avg_pool2d_grad(
    g: Any, size: Any, kernel: Any, stride: Any, padding: Any, counts: Any, count_include_pad: bool
) -> Any:
    """The op ``avg_pool2d_grad`` in float32."""
    if g.dtype != FLOAT32:
        return NotImplemented
    key = (g.shape, g.strides, size, kernel, stride, padding, counts, count_include_pad)
    run = _avg_grad.table.get(key)
    if run is None:
        run = _avg_grad.add(key)
    return run(g)


KERNELS: dict[str, Callable[..., Any]] = {
    "max_pool2d": max_pool2d,
    "max_pool2d_with_index": max_pool2d_with_index,
    "max_pool2d_grad": max_pool2d_grad,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_grad": avg_pool2d_grad,
}
