"""Matrix products by oneDNN: matmul, and linear with its bias, in float32 and bfloat16 (which add up in float32).

Small products are left to NumPy's BLAS, whose call costs less. Which of oneDNN's two ways is taken was measured: a second
factor that lies transposed (a weight (out, in), as ``linear`` has it) goes to its matmul primitive, one that lies row by
row to its ``sgemm``, and stacks of matrices to the primitive, which shares them out among the threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import c_char, c_float, c_int64, c_size_t
from typing import Any

import numpy as np

from . import dnnl, threads
from .dnnl import API, Handle, Unsupported
from .library import DATA_OFFSET
from .plans import FLOAT32, Plan, Plans, Run, code_of, dtype_of, lies, row_major, separate, strides_of

_LEAST = 1 << 18
"""Multiplications from which on oneDNN is asked. OpenBLAS computes up to so many in one thread; beyond, its threads and those
of oneDNN would take turns, each waiting for the other's to go to sleep."""
_PLAIN = 1 << 21
"""The same for two factors that lie row by row, where there is one thread only."""
_NARROWEST = 4
"""Thinner factors than this are a matter of memory, which BLAS reads at full speed."""


def _matrix(shape: Any, strides: Any) -> tuple[bytes, int]:
    """Whether a matrix lies row by row (N) or column by column (T), and the distance of its rows or columns."""
    (rows, columns), (down, right) = shape, strides
    if (columns == 1 or right == 1) and (down >= columns or rows == 1):
        return b"N", max(down if rows > 1 else columns, columns, 1)
    if (rows == 1 or down == 1) and right >= rows:
        return b"T", right
    raise Unsupported("strides")


def _layout(api: API, shape: Any, strides: Any, code: int) -> Handle:
    order = _matrix(shape, strides)
    return api.strided(shape, (order[1], 1) if order[0] == b"N" else (1, order[1]), code)


def _sgemm(api: API, x: Any, y: Any) -> Run:
    """``x @ y`` of matrices, each ((rows, columns), strides)."""
    (m, k), n = x[0], y[0][1]
    (x_order, x_step), (y_order, y_step) = _matrix(*x), _matrix(*y)
    head = (c_char(x_order), c_char(y_order), c_int64(m), c_int64(n), c_int64(k), c_float(1.0))
    ldx, ldy, beta, ldz = c_int64(x_step), c_int64(y_step), c_float(0.0), c_int64(n)
    sgemm, at, empty = api.sgemm, c_size_t.from_address, np.empty

    def multiply(x: Any, y: Any) -> Any:
        out = empty((m, n), FLOAT32)
        status = sgemm(
            *head, at(id(x) + DATA_OFFSET).value, ldx, at(id(y) + DATA_OFFSET).value, ldy, beta,
            at(id(out) + DATA_OFFSET).value, ldz,
        )  # fmt: skip
        if status:
            raise dnnl.failure("sgemm", status)
        return out

    return multiply


def _matmul_plan(api: API, key: Any) -> Run:
    code, x_shape, x_bytes, y_shape, y_bytes = key
    if len(x_shape) < 2 or len(y_shape) < 2 or 0 in x_shape or 0 in y_shape:
        raise Unsupported("vectors")
    x_strides, y_strides = (strides_of(s, dnnl.SIZES[code]) for s in (x_bytes, y_bytes))
    if len(y_shape) > 2:
        return _stacks(api, x_shape, x_strides, y_shape, y_strides, code)
    rows, (k, n) = math.prod(x_shape[:-1]), y_shape
    if len(x_shape) > 2 and not lies(x_shape, x_strides, row_major(x_shape)):
        return _stacks(api, x_shape, x_strides, y_shape, y_strides, code)
    x = ((rows, k), x_strides if len(x_shape) == 2 else (k, 1))
    order, _ = _matrix(y_shape, y_strides)
    least = _PLAIN if order == b"N" and code == dnnl.F32 and threads.get() == 1 else _LEAST
    if rows * k * n < least or min(rows, k, n) < _NARROWEST:
        raise Unsupported("small")
    if order == b"N" and code == dnnl.F32:
        multiply = _sgemm(api, x, (y_shape, y_strides))
    else:
        multiply = _primitive(api, x, (y_shape, y_strides), False, code)
    if len(x_shape) == 2:
        return multiply
    out_shape = (*x_shape[:-1], n)
    return lambda x, y: multiply(x, y).reshape(out_shape)


def _primitive(api: API, x: Any, y: Any, bias: bool, code: int) -> Run:
    """``x @ y`` or ``x @ y + bias`` of matrices, each ((rows, columns), strides)."""
    (m, _), n = x[0], y[0][1]
    layouts = (
        _layout(api, *x, code),
        _layout(api, *y, code),
        api.strided((1, n), (n, 1), code) if bias else None,
        api.strided((m, n), (n, 1), code),
    )
    plan = Plan(api)
    roles = {dnnl.SRC: plan.operand(layouts[0]), dnnl.WEIGHTS: plan.operand(layouts[1])}
    if layouts[2] is not None:
        roles[dnnl.BIAS] = plan.operand(layouts[2])
    roles[dnnl.DST] = plan.operand(layouts[3])
    described = api.describe("matmul", *layouts)
    api.require(described, code)
    plan.step(described, roles)
    run, empty, dtype = plan.finish(), np.empty, dtype_of(code)

    def multiply(*arrays: Any) -> Any:
        out = empty((m, n), dtype)
        run(*arrays, out)
        return out

    return multiply


def _stacks(api: API, x_shape: Any, x_strides: Any, y_shape: Any, y_strides: Any, code: int) -> Run:
    """Products of stacks of matrices; the leading axes broadcast."""
    ndim = max(len(x_shape), len(y_shape))
    head = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    shape = (*head, x_shape[-2], y_shape[-1])
    if math.prod(shape) * x_shape[-1] < _LEAST or min(*shape[-2:], x_shape[-1]) < _NARROWEST:
        raise Unsupported("small")
    layouts = []
    for array_shape, strides in ((x_shape, x_strides), (y_shape, y_strides)):
        if not separate(array_shape, strides):
            raise Unsupported("strides")
        extra = ndim - len(array_shape)
        _matrix(array_shape[-2:], strides[-2:])
        size = max(n * s for n, s in zip(array_shape, strides))
        layouts.append(api.strided((1,) * extra + array_shape, (size,) * extra + strides, code))
    plan = Plan(api)
    target = api.strided(shape, row_major(shape), code)
    described = api.describe("matmul", *layouts, None, target)
    api.require(described, code)
    roles = {dnnl.SRC: plan.operand(layouts[0]), dnnl.WEIGHTS: plan.operand(layouts[1]), dnnl.DST: plan.operand(target)}
    plan.step(described, roles)
    run, empty, dtype = plan.finish(), np.empty, dtype_of(code)

    def multiply(x: Any, y: Any) -> Any:
        out = empty(shape, dtype)
        run(x, y, out)
        return out

    return multiply


def _linear_plan(api: API, key: Any) -> Run:
    code, x_shape, x_bytes, w_shape, w_bytes, bias_bytes = key
    itemsize = dnnl.SIZES[code]
    rows, (n, k) = math.prod(x_shape[:-1]), w_shape
    if not rows or not n or not k or rows * n * k < _LEAST or min(rows, k, n) < _NARROWEST:
        raise Unsupported("small")
    x_strides, (down, right) = strides_of(x_bytes, itemsize), strides_of(w_bytes, itemsize)
    flat = len(x_shape) == 2
    if not flat and not lies(x_shape, x_strides, row_major(x_shape)):
        raise Unsupported("strides")
    if bias_bytes is not None and not lies((n,), strides_of(bias_bytes, itemsize), (1,)):
        raise Unsupported("strides of the bias")
    x = ((rows, k), x_strides if flat else (k, 1))
    multiply = _primitive(api, x, ((k, n), (right, down)), bias_bytes is not None, code)
    out_shape = (*x_shape[:-1], n)

    def linear(x: Any, w: Any, bias: Any) -> Any:
        out = multiply(x, w) if bias is None else multiply(x, w, bias)
        return out if flat else out.reshape(out_shape)

    return linear


_products = Plans(_matmul_plan)
_linear = Plans(_linear_plan)


def matmul(x: Any, y: Any) -> Any:
    """The op ``matmul`` in float32 and bfloat16."""
    if y.ndim < 2 or x.size * y.shape[-1] < _LEAST:
        return NotImplemented
    code = code_of(x.dtype)
    if code is None or y.dtype != x.dtype:
        return NotImplemented
    key = (code, x.shape, x.strides, y.shape, y.strides)
    run = _products.table.get(key)
    if run is None:
        run = _products.add(key)
    return run(x, y)


def linear(x: Any, weight: Any, bias: Any) -> Any:
    """The op ``linear`` in float32 and bfloat16."""
    if weight.ndim != 2 or x.size * weight.shape[0] < _LEAST:
        return NotImplemented
    dtype = x.dtype
    code = code_of(dtype)
    if code is None or weight.dtype != dtype or not (bias is None or bias.dtype == dtype):
        return NotImplemented
    key = (code, x.shape, x.strides, weight.shape, weight.strides, None if bias is None else bias.strides)
    run = _linear.table.get(key)
    if run is None:
        run = _linear.add(key)
    return run(x, weight, bias)


KERNELS: dict[str, Callable[..., Any]] = {"matmul": matmul, "linear": linear}
