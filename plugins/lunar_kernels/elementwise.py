"""Elementwise functions by oneDNN that cost NumPy many passes: gelu and its gradient, tanh's approximation included; and the
conversion between float32 and bfloat16, which NumPy does number by number.

oneDNN gives NaN at minus infinity, where the limit is 0; an array whose result holds a NaN is left to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl
from .dnnl import API, Handle, Unsupported
from .plans import Plan, Plans, Run, code_of, dtype_of, lies, packed, strides_of

maximum = np.maximum.reduce


def _rows(api: API, shape: Any, byte_strides: Any, code: int = dnnl.F32) -> tuple[Handle, int]:
    """A dense array in any order of its axes as rows of its densest one, and how many there are."""
    strides = strides_of(byte_strides, dnnl.SIZES[code])
    order = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    if not shape or 0 in shape or not lies(shape, strides, packed(shape, order)):
        raise Unsupported("strides")
    width = shape[order[-1]]
    count = math.prod(shape) // width
    return api.strided((count, width), (width, 1), code), count


def _forward_plan(algorithm: int) -> Callable[[API, Any], Run]:
    def make(api: API, key: Any) -> Run:
        code, shape, strides = key
        layout, count = _rows(api, shape, strides, code)
        plan = Plan(api)
        x, y = plan.operand(layout), plan.operand(layout)
        plan.step(_described(api, algorithm, layout), {dnnl.SRC: x, dnnl.DST: y})
        sums = plan.sums(y, count)
        run, empty_like = plan.finish(), np.empty_like

        def compute(x: Any) -> Any:
            out = empty_like(x)
            run(x, out)
            largest = maximum(sums)
            return out if largest == largest else NotImplemented

        return compute

    return make


def _described(api: API, algorithm: int, layout: Handle) -> Handle:
    return api.describe("eltwise_forward", dnnl.FORWARD_TRAINING, algorithm, layout, layout, 0.0, 0.0)


def _backward_plan(algorithm: int) -> Callable[[API, Any], Run]:
    def make(api: API, key: Any) -> Run:
        code, shape, g_strides, x_strides = key
        if not lies(shape, g_strides, x_strides):
            raise Unsupported("a gradient that lies in another order")
        layout, count = _rows(api, shape, x_strides, code)
        plan = Plan(api)
        roles = {dnnl.DIFF_DST: plan.operand(layout), dnnl.SRC: plan.operand(layout)}
        roles[dnnl.DIFF_SRC] = result = plan.operand(layout)
        forward = _described(api, algorithm, layout)
        layouts = (layout, layout, layout)
        plan.step(api.describe("eltwise_backward", algorithm, *layouts, 0.0, 0.0, forward), roles)
        sums = plan.sums(result, count)
        run, empty_like = plan.finish(), np.empty_like

        def compute(g: Any, x: Any) -> Any:
            out = empty_like(x)
            run(g, x, out)
            largest = maximum(sums)
            return out if largest == largest else NotImplemented

        return compute

    return make


def _forward(algorithm: int) -> Callable[..., Any]:
    plans = Plans(_forward_plan(algorithm))

    def kernel(x: Any) -> Any:
        code = code_of(x.dtype)
        if code is None:
            return NotImplemented
        key = (code, x.shape, x.strides)
        run = plans.table.get(key)
        if run is None:
            run = plans.add(key)
        return run(x)

    return kernel


def _backward(algorithm: int) -> Callable[..., Any]:
    plans = Plans(_backward_plan(algorithm))

    def kernel(g: Any, x: Any) -> Any:
        code = code_of(x.dtype)
        if code is None or g.dtype != x.dtype or g.shape != x.shape:
            return NotImplemented
        key = (code, x.shape, g.strides, x.strides)
        run = plans.table.get(key)
        if run is None:
            run = plans.add(key)
        return run(g, x)

    return kernel


# -- conversion --------------------------------------------------------------------------------------------------------

_LEAST = 1 << 12
"""Numbers below which NumPy's conversion costs less than the call."""


def _cast_plan(api: API, key: Any) -> Run:
    code, other, shape, strides = key
    source, count = _rows(api, shape, strides, code)
    width = math.prod(shape) // count
    plan = Plan(api)
    plan.copy(plan.operand(source), plan.operand(api.strided((count, width), (width, 1), other)))
    run, empty_like, dtype = plan.finish(), np.empty_like, dtype_of(other)

    def convert(x: Any) -> Any:
        out = empty_like(x, dtype)
        run(x, out)
        return out

    return convert


_casts = Plans(_cast_plan)


def cast(x: Any, dtype: Any) -> Any:
    """The op ``cast`` between float32 and bfloat16."""
    if x.size < _LEAST or dtype == x.dtype:
        return NotImplemented
    code, other = code_of(x.dtype), code_of(np.dtype(dtype))
    if code is None or other is None:
        return NotImplemented
    key = (code, other, x.shape, x.strides)
    run = _casts.table.get(key)
    if run is None:
        run = _casts.add(key)
    return run(x)


KERNELS: dict[str, Callable[..., Any]] = {
    "cast": cast,
    "gelu": _forward(dnnl.ELTWISE_GELU_ERF),
    "gelu_grad": _backward(dnnl.ELTWISE_GELU_ERF),
    "gelu_tanh": _forward(dnnl.ELTWISE_GELU_TANH),
    "gelu_tanh_grad": _backward(dnnl.ELTWISE_GELU_TANH),
}
