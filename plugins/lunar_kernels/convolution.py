"""Convolution of images by oneDNN: conv2d and its two adjoints.

Everything is computed channels-last. Images that lie otherwise are copied by a step of the plan; results lie channels-last.
The weight is copied into the blocked layout that the primitive likes on every call: it changes in every training step, and
the copy is small beside the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl, threads
from .dnnl import API, Handle, Unsupported
from .plans import (
    Plan,
    Plans,
    Run,
    channels_last,
    code_of,
    dtype_of,
    image_operand,
    images_like,
    lies,
    row_major,
    separate,
    strides_of,
)

_NARROW = 64
"""Channels below which the direct kernels, which get one layout and choose the others, beat the ones made of small matrix
products."""
_SLICE = 4
"""Rows of at most so many pixels also are better off with the direct kernels."""
_WEIGHT_BYTES, _PIXELS = 4 << 20, 1024
"""The gradient of a weight so large over so few pixels is faster as one matrix product, which the reference is."""


class Geometry:
    """The numbers of a convolution x (N, C, H, W), w (O, C / groups, kh, kw) -> y (N, O, OH, OW), as oneDNN wants them."""

    def __init__(
        self, x: Any, w: Any, y: Any, stride: Any, padding: Any, dilation: Any, groups: int, code: int = dnnl.F32
    ) -> None:
        if 0 in x or 0 in w or 0 in y:
            raise Unsupported("nothing to compute")
        self.x, self.w, self.y, self.groups, self.code = x, w, y, groups, code
        (top, bottom), (left, right) = padding
        self.geometry = (
            dnnl.dims(stride), dnnl.dims([d - 1 for d in dilation]), dnnl.dims((top, left)), dnnl.dims((bottom, right)),
        )  # fmt: skip
        # which of the two families of kernels: the direct ones take over where the images' layout is left open
        self.direct = groups == 1 and (min(x[1], w[0]) < _NARROW or y[3] <= _SLICE)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Groups are an axis of their own in oneDNN."""
        o, c, kh, kw = self.w
        return self.w if self.groups == 1 else (self.groups, o // self.groups, c, kh, kw)

    def weight_layout(self, api: API, strides: tuple[int, ...]) -> Handle:
        """The layout of a weight (O, C / groups, kh, kw) with these strides in elements."""
        if not separate(self.w, strides):
            raise Unsupported("weight strides")
        if self.groups > 1:
            strides = (self.w[0] // self.groups * strides[0], *strides)
        return api.strided(self.weight_shape, strides, self.code)

    def images(self, api: API, shape: tuple[int, ...]) -> Handle:
        return api.strided(shape, channels_last(shape), self.code)

    def forward(self, api: API, bias: bool, *, training: bool = False) -> Handle:
        """The descriptor of the product; the layout of the weight, and for the direct kernels that of ``x``, is open."""
        return api.describe(
            "convolution_forward",
            dnnl.FORWARD_TRAINING if training else dnnl.FORWARD_INFERENCE,
            dnnl.CONVOLUTION_DIRECT,
            api.any(self.x, self.code) if self.direct else self.images(api, self.x),
            api.any(self.weight_shape, self.code),
            api.strided(self.w[:1], (1,), self.code) if bias else None,
            self.images(api, self.y),
            *self.geometry,
        )

    def backward_data(self, api: API) -> Handle:
        return api.describe(
            "convolution_backward_data",
            dnnl.CONVOLUTION_DIRECT,
            api.any(self.x, self.code) if self.direct else self.images(api, self.x),
            api.any(self.weight_shape, self.code),
            self.images(api, self.y),
            *self.geometry,
            self.forward(api, False, training=True),
        )

    def backward_weights(self, api: API) -> Handle:
        return api.describe(
            "convolution_backward_weights",
            dnnl.CONVOLUTION_DIRECT,
            api.any(self.x, self.code) if self.direct else self.images(api, self.x),
            api.any(self.weight_shape, self.code),
            None,
            self.images(api, self.y),
            *self.geometry,
            self.forward(api, False, training=True),
        )


def _required(api: API, described: Handle, which: int) -> Handle:
    layout = api.layout(described, which)
    if layout is None:
        raise Unsupported("layout")
    return layout


def _channels_last_only(api: API, described: Handle, which: int, geometry: Geometry, shape: tuple[int, ...]) -> Handle:
    """The layout that the primitive chose for the images, if it is the only one that an array can have."""
    layout = _required(api, described, which)
    if not api.same(layout, geometry.images(api, shape)):
        raise Unsupported("blocked images")
    return layout


def _preferring(
    api: API, geometry: Geometry, describe: Callable[[], Handle], usable: Callable[[Handle], object]
) -> Handle:
    """The descriptor of the kernels that the geometry prefers, of the others where those cannot be used."""
    first = geometry.direct
    for geometry.direct in (first, not first):
        try:
            described = describe()
            usable(described)
            api.require(described, geometry.code)
            return described
        except Unsupported:
            continue
    raise Unsupported("convolution")


def _forward_plan(api: API, key: Any) -> Run:
    code, x_shape, x_strides, w_shape, w_strides, bias_strides, stride, padding, dilation, groups = key
    itemsize, dtype = dnnl.SIZES[code], dtype_of(code)
    counts = tuple(
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(x_shape[2:], padding, w_shape[2:], dilation, stride)
    )
    y_shape = (x_shape[0], w_shape[0], *counts)
    geometry = Geometry(x_shape, w_shape, y_shape, stride, padding, dilation, groups, code)
    with_bias = bias_strides is not None
    if with_bias and not lies(w_shape[:1], strides_of(bias_strides, itemsize), (1,)):
        raise Unsupported("bias strides")
    described = _preferring(
        api,
        geometry,
        lambda: geometry.forward(api, with_bias),
        lambda d: _channels_last_only(api, d, dnnl.SRC_MD, geometry, x_shape),
    )
    plan = Plan(api)
    x = image_operand(plan, x_shape, x_strides, code)
    w = plan.operand(geometry.weight_layout(api, strides_of(w_strides, itemsize)))
    roles = {
        dnnl.SRC: plan.as_layout(x, _required(api, described, dnnl.SRC_MD)),
        dnnl.WEIGHTS: plan.as_layout(w, _required(api, described, dnnl.WEIGHTS_MD)),
    }
    if with_bias:
        roles[dnnl.BIAS] = plan.operand(api.strided(w_shape[:1], (1,), code))
    roles[dnnl.DST] = plan.operand(geometry.images(api, y_shape))
    plan.step(described, roles)
    run = plan.finish()

    def with_offset(x: Any, w: Any, bias: Any) -> Any:
        out = images_like(y_shape, dtype)
        run(x, w, bias, out)
        return out

    def without(x: Any, w: Any, bias: Any) -> Any:
        out = images_like(y_shape, dtype)
        run(x, w, out)
        return out

    return with_offset if with_bias else without


def _input_grad_plan(api: API, key: Any) -> Run:
    code, g_shape, g_strides, w_shape, w_strides, size, stride, padding, dilation, groups = key
    itemsize, dtype = dnnl.SIZES[code], dtype_of(code)
    x_shape = (g_shape[0], w_shape[1] * groups, *size)
    geometry = Geometry(x_shape, w_shape, g_shape, stride, padding, dilation, groups, code)
    described = _preferring(
        api,
        geometry,
        lambda: geometry.backward_data(api),
        lambda d: _channels_last_only(api, d, dnnl.DIFF_SRC_MD, geometry, x_shape),
    )
    plan = Plan(api)
    g = image_operand(plan, g_shape, g_strides, code)
    w = plan.operand(geometry.weight_layout(api, strides_of(w_strides, itemsize)))
    roles = {
        dnnl.DIFF_DST: plan.as_layout(g, _required(api, described, dnnl.DIFF_DST_MD)),
        dnnl.WEIGHTS: plan.as_layout(w, _required(api, described, dnnl.WEIGHTS_MD)),
        dnnl.DIFF_SRC: plan.operand(geometry.images(api, x_shape)),
    }
    plan.step(described, roles)
    run = plan.finish()

    def input_gradient(g: Any, w: Any) -> Any:
        out = images_like(x_shape, dtype)
        run(g, w, out)
        return out

    return input_gradient


def _weight_grad_plan(api: API, key: Any) -> Run:
    code, x_shape, x_strides, g_shape, g_strides, kernel, stride, padding, dilation, groups = key
    dtype = dtype_of(code)
    w_shape = (g_shape[1], x_shape[1] // groups, *kernel)
    geometry = Geometry(x_shape, w_shape, g_shape, stride, padding, dilation, groups, code)
    pixels = g_shape[0] * g_shape[2] * g_shape[3]
    large = groups == 1 and 4 * int(np.prod(w_shape)) >= _WEIGHT_BYTES and pixels <= _PIXELS
    if large and code == dnnl.F32 and threads.get() == 1:  # with several, BLAS's would wait for ours to sleep
        raise Unsupported("better as one matrix product")
    described = _preferring(
        api,
        geometry,
        lambda: geometry.backward_weights(api),
        lambda d: _channels_last_only(api, d, dnnl.SRC_MD, geometry, x_shape),
    )
    plan = Plan(api)
    x, g = image_operand(plan, x_shape, x_strides, code), image_operand(plan, g_shape, g_strides, code)
    source = plan.as_layout(x, _required(api, described, dnnl.SRC_MD))
    gradient = plan.as_layout(g, _required(api, described, dnnl.DIFF_DST_MD))
    out = plan.operand(geometry.weight_layout(api, row_major(w_shape)))
    blocked = _required(api, described, dnnl.DIFF_WEIGHTS_MD)
    result = out if api.same(blocked, out.layout) else plan.temporary(blocked)
    plan.step(described, {dnnl.SRC: source, dnnl.DIFF_DST: gradient, dnnl.DIFF_WEIGHTS: result})
    if result is not out:
        plan.copy(result, out)
    run = plan.finish()

    def weight_gradient(x: Any, g: Any) -> Any:
        out = np.empty(w_shape, dtype)
        run(x, g, out)
        return out

    return weight_gradient


_forward = Plans(_forward_plan)
_input_grad = Plans(_input_grad_plan)
_weight_grad = Plans(_weight_grad_plan)


def conv2d(x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op ``conv2d`` in float32 and bfloat16."""
    dtype = x.dtype
    code = code_of(dtype)
    if code is None or w.dtype != dtype or not (bias is None or bias.dtype == dtype):
        return NotImplemented
    bias_strides = None if bias is None else bias.strides
    key = (code, x.shape, x.strides, w.shape, w.strides, bias_strides, stride, padding, dilation, groups)
    run = _forward.table.get(key)
    if run is None:
        run = _forward.add(key)
    return run(x, w, bias)


def conv2d_input_grad(g: Any, w: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op ``conv2d_input_grad`` in float32 and bfloat16."""
    code = code_of(g.dtype)
    if code is None or w.dtype != g.dtype:
        return NotImplemented
    key = (code, g.shape, g.strides, w.shape, w.strides, size, stride, padding, dilation, groups)
    run = _input_grad.table.get(key)
    if run is None:
        run = _input_grad.add(key)
    return run(g, w)


def conv2d_weight_grad(x: Any, g: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op ``conv2d_weight_grad`` in float32 and bfloat16."""
    code = code_of(x.dtype)
    if code is None or g.dtype != x.dtype:
        return NotImplemented
    key = (code, x.shape, x.strides, g.shape, g.strides, kernel, stride, padding, dilation, groups)
    run = _weight_grad.table.get(key)
    if run is None:
        run = _weight_grad.add(key)
    return run(x, g)


KERNELS: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "conv2d_input_grad": conv2d_input_grad,
    "conv2d_weight_grad": conv2d_weight_grad,
}
