"""Softmax by oneDNN.

Its log-softmax is left out: oneDNN's logarithm is off by up to 3e-6 there, ten times the reference's error, and hardly faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl
from .dnnl import API, Unsupported
from .plans import FLOAT32, Plan, Plans, Run, lies, packed, strides_of


def _softmax_plan(api: API, key: Any) -> Run:
    shape, byte_strides, axis = key
    strides = strides_of(byte_strides)
    if 0 in shape or not shape:
        raise Unsupported("nothing to compute")
    order = sorted(
        range(len(shape)), key=lambda a: (-strides[a], a == axis)
    )  # the result lies in the order of its input
    if order[-1] != axis or not lies(shape, strides, packed(shape, order)):
        raise Unsupported("an axis that does not lie densest")
    width = shape[axis]
    count = math.prod(shape) // width
    layout = api.strided((count, width), (width, 1))
    plan = Plan(api)
    x, y = plan.operand(layout), plan.operand(layout)
    kind = dnnl.FORWARD_INFERENCE, dnnl.SOFTMAX_ACCURATE
    plan.step(api.describe("softmax_forward", *kind, layout, layout, 1), {dnnl.SRC: x, dnnl.DST: y})
    sums = plan.sums(y, count)
    run = plan.finish()
    memory_shape = tuple(shape[a] for a in order)
    back = None if order == sorted(order) else tuple(order.index(a) for a in range(len(shape)))

    def softmax(x: Any) -> Any:
        out = np.empty(memory_shape, FLOAT32)
        if back is not None:
            out = out.transpose(back)
        run(x, out)
        largest = np.maximum.reduce(sums)
        # where a row holds NaN or infinity, oneDNN puts NaN there and zeros beside it; the reference makes the row NaN
        return NotImplemented if largest != largest else out

    return softmax


_softmax = Plans(_softmax_plan)


def softmax(x: Any, axis: int) -> Any:
    """The op ``softmax`` in float32."""
    if x.dtype != FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides, axis)
    run = _softmax.table.get(key)
    if run is None:
        run = _softmax.add(key)
    return run(x)


KERNELS: dict[str, Callable[..., Any]] = {"softmax": softmax}
