"""LSTM over whole sequences by oneDNN, where no gradient will be asked for: it keeps nothing for a backward pass.

With a graph to record, the reference runs, whose loop keeps what its gradient needs. Ragged batches and projections are left
to the reference too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lunar_core.modes import modes

from . import dnnl
from .dnnl import API, Unsupported
from .plans import FLOAT32, Plan, Plans, Run, lies, row_major, strides_of

_NOTHING = np.empty(0, FLOAT32)


def _lstm_plan(api: API, key: Any) -> Run:
    shape, strides, w_ih_strides, w_hh_shape, w_hh_strides, biased, reverse = key
    (batch, length, features), (rows, size) = shape, w_hh_shape
    gates = rows // size
    if (
        0 in shape
        or 0 in w_hh_shape
        or not _dense(w_hh_shape, w_hh_strides)
        or not _dense((rows, features), w_ih_strides)
    ):
        raise Unsupported("weights")
    by_batch, by_time, _ = x_strides = strides_of(strides)
    if not any(lies(shape, x_strides, s) for s in (row_major(shape), (features, batch * features, 1))):
        raise Unsupported("strides")
    plan = Plan(api)
    x = plan.operand(api.strided((length, batch, features), (by_time, by_batch, 1)))
    h0, c0 = (plan.operand(_state(api, batch, size)) for _ in range(2))
    w_ih = plan.operand(_weight(api, features, gates, size))
    w_hh = plan.operand(_weight(api, size, gates, size))
    bias_layout = api.strided((1, 1, gates, size), (rows, rows, size, 1))
    bias = plan.operand(bias_layout) if biased else plan.constant(bias_layout, np.zeros(rows, FLOAT32))
    y = plan.operand(api.strided((length, batch, size), (batch * size, size, 1)))
    h, c = (plan.operand(_state(api, batch, size)) for _ in range(2))
    direction = dnnl.RIGHT_TO_LEFT if reverse else dnnl.LEFT_TO_RIGHT
    described = api.describe(
        "lstm_forward", dnnl.FORWARD_INFERENCE, direction, x.layout, h0.layout, c0.layout,
        api.any((1, 1, features, gates, size)), api.any((1, 1, size, gates, size)), None, None, bias_layout,
        y.layout, h.layout, c.layout, 0,
    )  # fmt: skip
    layer, recurrent = (api.layout(described, dnnl.WEIGHTS_MD, index) for index in (0, 1))
    if layer is None or recurrent is None:
        raise Unsupported("layout of the weights")
    roles = {
        dnnl.SRC: x, dnnl.SRC_ITER: h0, dnnl.SRC_ITER_C: c0, dnnl.WEIGHTS: plan.as_layout(w_ih, layer),
        dnnl.WEIGHTS_ITER: plan.as_layout(w_hh, recurrent), dnnl.BIAS: bias, dnnl.DST: y, dnnl.DST_ITER: h,
        dnnl.DST_ITER_C: c,
    }  # fmt: skip
    plan.step(described, roles)
    run = plan.finish()

    def compute(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, bias: Any) -> Any:
        y = np.empty((length, batch, size), FLOAT32)
        h, c = np.empty((batch, size), FLOAT32), np.empty((batch, size), FLOAT32)
        run(x, h0, c0, w_ih, w_hh, *(() if bias is None else (bias,)), y, h, c)
        return y.transpose(1, 0, 2), h, c, _NOTHING, _NOTHING, _NOTHING

    return compute


def _dense(shape: Any, byte_strides: Any) -> bool:
    return lies(shape, strides_of(byte_strides), row_major(shape))


def _state(api: API, batch: int, size: int) -> Any:
    return api.strided((1, 1, batch, size), (batch * size, batch * size, size, 1))


def _weight(api: API, inputs: int, gates: int, size: int) -> Any:
    """A weight (gates * size, inputs) as oneDNN names its axes: layer, direction, input, gate, output."""
    whole = gates * size * inputs
    return api.strided((1, 1, inputs, gates, size), (whole, whole, 1, size * inputs, inputs))


_lstm = Plans(_lstm_plan)


def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, counts: Any, reverse: bool
) -> Any:
    """The op ``lstm_layer`` in float32, without what its gradient would need."""
    if modes.grad or w_hr is not None or counts is not None:
        return NotImplemented
    given = (x, h0, c0, w_ih, w_hh, *(b for b in (b_ih, b_hh) if b is not None))
    if any(a.dtype != FLOAT32 for a in given) or not (h0.flags.c_contiguous and c0.flags.c_contiguous):
        return NotImplemented
    biased = b_ih is not None
    key = (x.shape, x.strides, w_ih.strides, w_hh.shape, w_hh.strides, biased, reverse)
    run = _lstm.table.get(key)
    if run is None:
        run = _lstm.add(key)
    return run(x, h0, c0, w_ih, w_hh, b_ih + b_hh if biased else None)


KERNELS: dict[str, Callable[..., Any]] = {"lstm_layer": lstm}
