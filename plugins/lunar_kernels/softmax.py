"""Softmax by oneDNN.

Its log-softmax is left out: oneDNN's logarithm is off by up to 3e-6 there, ten times the reference's error, and hardly faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dnnl
from .dnnl import API, Unsupported
from .plans import FLOAT32, Plan, Plans, Run, lies, packed, separate, strides_of


def _softmax_plan(api: API, key: Any) -> Run:
    shape, byte_strides, axis = key
    strides = strides_of(byte_strides)
    if 0 in shape or not shape or not separate(shape, strides):
        raise Unsupported("strides")
    order = sorted(range(len(shape)), key=lambda a: (-strides[a], a))  # the result lies in the order of its input
    dense = packed(shape, order)
    if not lies(shape, strides, dense):
        raise Unsupported("strides")
    layout = api.strided(shape, dense)
    described = api.describe("softmax_forward", dnnl.FORWARD_INFERENCE, dnnl.SOFTMAX_ACCURATE, layout, layout, axis)
    plan = Plan(api)
    plan.step(described, {dnnl.SRC: plan.operand(layout), dnnl.DST: plan.operand(layout)})
    run = plan.finish()
    memory_shape = tuple(shape[a] for a in order)
    back = tuple(order.index(a) for a in range(len(shape)))

    def softmax(x: Any) -> Any:
        memory = np.empty(memory_shape, FLOAT32)
        out = memory.transpose(back)
        run(x, out)
        largest = np.maximum.reduce(memory.reshape(-1))  # NaN if there is one
        # where a row holds NaN or infinity, oneDNN puts NaN there and zeros beside it; the reference makes the row NaN
        return NotImplemented if largest != largest else out

    return softmax


_softmax = Plans(_softmax_plan)


def softmax(x: Any, axis: int) -> Any:
    """The op ``softmax`` in float32."""
    if x.dtype is not FLOAT32:
        return NotImplemented
    key = (x.shape, x.strides, axis)
    run = _softmax.table.get(key)
    if run is None:
        run = _softmax.add(key)
    return run(x)


KERNELS: dict[str, Callable[..., Any]] = {"softmax": softmax}
