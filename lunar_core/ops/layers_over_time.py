"""The ops of whole recurrent layers: rules, shape rules and samples. Their kernels are in ``recurrence``.

In a plain backward pass a rule is a kernel; the plain composition below is the rule of higher orders.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import Op, Result, Sample, Spec
from ..tensor import Tensor
from . import recurrence
from .activation import relu, sigmoid
from .common import array
from .composition import composed_vjp
from .elementwise import tanh
from .linalg import linear
from .shape import concat, stack

# -- what the ops are composed of --------------------------------------------------------------------------------------


def _over_time(step: Any, x: Any, states: tuple[Any, ...], counts: Any, reverse: bool) -> tuple[Any, ...]:
    """Outputs (B, T, H) and last states of ``step(x_t, *states)``, whose first result is the output."""
    batch, length = x.shape[:2]
    outputs: list[Any] = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        n = batch if counts is None else counts[t]
        if n == batch:
            states = step(x[:, t], *states)
            outputs[t] = states[0]
        else:
            new = step(x[:n, t], *[s[:n] for s in states])
            outputs[t] = concat([new[0], states[0][n:] * 0])
            states = tuple(concat([a, b[n:]]) for a, b in zip(new, states))
    return (stack(outputs, axis=1), *states)


def _rnn_composed(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, counts: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, ...]:
    activation = tanh if nonlinearity == "tanh" else relu

    def step(x: Any, h: Any) -> tuple[Any, ...]:
        return (activation(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)),)

    return _over_time(step, x, (h0,), counts, reverse)


def _lstm_composed(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, counts: Any, reverse: bool
) -> tuple[Any, ...]:
    size = w_hh.shape[0] // 4

    def step(x: Any, h: Any, c: Any) -> tuple[Any, ...]:
        gates = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
        i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h if w_hr is None else linear(h, w_hr), c

    return _over_time(step, x, (h0, c0), counts, reverse)


def _gru_composed(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, counts: Any, reverse: bool
) -> tuple[Any, ...]:
    size = w_hh.shape[1]

    def step(x: Any, h: Any) -> tuple[Any, ...]:
        a, b = linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)
        gates = sigmoid(a[:, : 2 * size] + b[:, : 2 * size])
        r, z = gates[:, :size], gates[:, size:]
        n = tanh(a[:, 2 * size :] + r * b[:, 2 * size :])
        return (n + z * (h - n),)

    return _over_time(step, x, (h0,), counts, reverse)


# -- rules -------------------------------------------------------------------------------------------------------------


def _rnn_vjp(F: Any, g: Any, saved: Any, need: Any, **static: Any) -> Any:
    *inputs, states = saved
    if _in_graph(g):
        return composed_vjp(lambda *xs: _rnn_composed(*xs, **static), inputs, g, need)
    x, _, w_ih, w_hh, _, _ = inputs
    h0, ih, hh, b, *gx = F.rnn_grad(x, w_ih, w_hh, states, *g[:2], input_grad=need[0], **static)
    return gx[0] if gx else None, h0, ih, hh, b, b


def _lstm_vjp(F: Any, g: Any, saved: Any, need: Any, **static: Any) -> Any:
    *inputs, gates, states, cells = saved
    if _in_graph(g):
        return composed_vjp(lambda *xs: _lstm_composed(*xs, **static), inputs, g, need)
    x, _, _, w_ih, w_hh, _, _, w_hr = inputs
    h0, c0, ih, hh, b, *more = F.lstm_grad(
        x, w_ih, w_hh, w_hr, gates, states, cells, *g[:3], input_grad=need[0], **static
    )
    return more[-1] if need[0] else None, h0, c0, ih, hh, b, b, None if w_hr is None else more[0]


def _gru_vjp(F: Any, g: Any, saved: Any, need: Any, **static: Any) -> Any:
    *inputs, gates, states = saved
    if _in_graph(g):
        return composed_vjp(lambda *xs: _gru_composed(*xs, **static), inputs, g, need)
    x, _, w_ih, w_hh, _, _ = inputs
    h0, ih, hh, b_ih, b_hh, *gx = F.gru_grad(x, w_ih, w_hh, gates, states, *g[:2], input_grad=need[0], **static)
    return gx[0] if gx else None, h0, ih, hh, b_ih, b_hh


def _in_graph(g: Any) -> bool:
    return any(isinstance(gi, Tensor) for gi in g)


# -- shape rules -------------------------------------------------------------------------------------------------------


def _single(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _work(x: Spec, **sizes: tuple[int, ...]) -> tuple[Spec, ...]:
    """What a forward kernel leaves for the backward one."""
    return tuple(Spec(shape, _single(x.dtype)) for shape in sizes.values())


def _rnn_spec(x: Spec, h0: Spec, *weights: Any, **static: Any) -> tuple[Spec, ...]:
    (batch, length), size = x.shape[:2], h0.shape[1]
    y = Spec((batch, length, size), x.dtype)
    return y, Spec(h0.shape, x.dtype), *_work(x, states=(length + 1, batch, size))


def _lstm_spec(x: Spec, h0: Spec, c0: Spec, *weights: Any, **static: Any) -> tuple[Spec, ...]:
    (batch, length), size, cell = x.shape[:2], h0.shape[1], c0.shape[1]
    y, h, c = Spec((batch, length, size), x.dtype), Spec(h0.shape, x.dtype), Spec(c0.shape, x.dtype)
    return (
        y,
        h,
        c,
        *_work(x, gates=(length, 4 * cell, batch), states=(length + 1, batch, size), cells=(length + 1, cell, batch)),
    )


def _gru_spec(x: Spec, h0: Spec, *weights: Any, **static: Any) -> tuple[Spec, ...]:
    (batch, length), size = x.shape[:2], h0.shape[1]
    y = Spec((batch, length, size), x.dtype)
    work = _work(x, gates=(length, 4 * size, batch), states=(length + 1, batch, size))
    return y, Spec(h0.shape, x.dtype), *work


def _grad_specs(gates: int, biases: int) -> Any:
    """Abstract rule of a backward kernel: initial states, weights, biases, projection, and the input where asked for."""

    def abstract(x: Spec, w_ih: Spec, w_hh: Spec, *rest: Any, input_grad: bool, **static: Any) -> tuple[Spec, ...]:
        dtype, batch = _single(x.dtype), x.shape[0]
        size = w_hh.shape[0] // gates
        shapes: list[tuple[int, ...]] = [(batch, w_hh.shape[1])]
        if gates == 4:
            shapes.append((batch, size))
        shapes += [w_ih.shape, w_hh.shape, *[w_hh.shape[:1]] * biases]
        if gates == 4 and rest[0] is not None:
            shapes.append(rest[0].shape)
        return (*[Spec(s, dtype) for s in shapes], *([x] if input_grad else []))

    return abstract


# -- samples -----------------------------------------------------------------------------------------------------------


def _cases(gates: int, projections: bool) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Inputs (x, h0, c0 of an LSTM, weights, biases, projection) and keyword arguments."""
    batch, length, width, size = 3, 4, 2, 3
    result = []
    for number, (counts, reverse, bias, project) in enumerate(
        [
            (None, False, True, False), (None, True, False, False), ((3, 3, 2, 1), False, True, False),
            ((3, 2, 2, 0), True, True, False), *([((3, 3, 1, 1), False, True, True), (None, True, False, True)] * projections),
        ]
    ):  # fmt: skip
        out = 2 if project else size
        shapes: list[Any] = [(batch, length, width), (batch, out)]
        if gates == 4:
            shapes.append((batch, size))
        shapes += [(gates * size, width), (gates * size, out), *[(gates * size,) if bias else None] * 2]
        if gates == 4:
            shapes.append((out, size) if project else None)
        arrays = tuple(None if s is None else array(10 * number + i, s, -1, 1) for i, s in enumerate(shapes))
        result.append((arrays, {"counts": counts, "reverse": reverse}))
    return result


def _samples(gates: int, kind: str, **static: Any) -> list[Sample]:
    """With PyTorch's own layer as the oracle, where all rows run to the end (its packed sequences are compared elsewhere)."""

    def call(reverse: bool, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        present = [a is not None for a in arrays]

        def of(t: Any, *given: Any) -> Any:
            left = iter(given)
            found: list[Any] = [next(left) if p else None for p in present]
            x, *rest = found
            states, weights = rest[: 1 + (gates == 4)], [w for w in rest[1 + (gates == 4) :] if w is not None]
            flat = x.flip(1) if reverse else x
            name = kind + ("_" + static["nonlinearity"] if static else "")
            hx = [s[None] for s in states]
            y, *last = getattr(t, name)(
                flat,
                hx if gates == 4 else hx[0],
                weights,
                rest[-2 - (gates == 4)] is not None,
                1,
                0.0,
                True,
                False,
                True,
            )
            return (y.flip(1) if reverse else y, *[s[0] for s in last])

        return of

    table = []
    for arrays, case in _cases(gates, gates == 4):
        oracle = call(case["reverse"], arrays, static) if case["counts"] is None else None
        table.append(Sample(arrays, {**case, **static}, torch=oracle))
    return table


def _grad_samples(gates: int, forward: Any, states: int, **static: Any) -> list[Sample]:
    """What a backward kernel gets, from the forward kernel over the same table."""
    table = []
    for number, (arrays, case) in enumerate(_cases(gates, gates == 4)):
        results = forward(np, *arrays, **case, **static)
        seeds = [array(90 + i, r.shape, -1, 1) for i, r in enumerate(results[: 1 + states])]
        if number == 1:  # as where only the last states were used
            seeds[0] = None  # type: ignore[call-overload]
        weights = arrays[1 + states : 3 + states] + ((arrays[-1],) if gates == 4 else ())
        inputs = (arrays[0], *weights, *results[1 + states :], *seeds)
        table.append(Sample(inputs, {**case, **static, "input_grad": number != 2}, grad=False))
    return table


# -- ops ---------------------------------------------------------------------------------------------------------------

NONLINEARITIES = ("tanh", "relu")

rnn_layer = Op(
    "rnn_layer",
    recurrence.rnn,
    _rnn_vjp,
    save=(0, 1, 2, 3, 4, 5, Result(2)),
    cast="low",
    results=2,
    heavy=True,
    abstract=_rnn_spec,
    samples=lambda: [s for n in NONLINEARITIES for s in _samples(1, "rnn", nonlinearity=n)],
    doc="Elman recurrence over a sequence; then the last state, and what the gradient needs: all states.",
)
rnn_grad = Op(
    "rnn_grad",
    recurrence.rnn_grad,
    None,
    heavy=True,
    abstract=_grad_specs(1, 1),
    samples=lambda: [s for n in NONLINEARITIES for s in _grad_samples(1, recurrence.rnn, 1, nonlinearity=n)],
    doc="Gradients of rnn in its initial state, weights, bias and input.",
)
lstm_layer = Op(
    "lstm_layer",
    recurrence.lstm,
    _lstm_vjp,
    save=(0, 1, 2, 3, 4, 5, 6, 7, Result(3), Result(4), Result(5)),
    cast="low",
    results=3,
    heavy=True,
    abstract=_lstm_spec,
    samples=lambda: _samples(4, "lstm"),
    doc="LSTM over a sequence; then the last states, and what the gradient needs: gates, outputs and cell states.",
)
lstm_grad = Op(
    "lstm_grad",
    recurrence.lstm_grad,
    None,
    heavy=True,
    abstract=_grad_specs(4, 1),
    samples=lambda: _grad_samples(4, recurrence.lstm, 2),
    doc="Gradients of lstm in its initial states, weights, bias, projection and input.",
)
gru_layer = Op(
    "gru_layer",
    recurrence.gru,
    _gru_vjp,
    save=(0, 1, 2, 3, 4, 5, Result(2), Result(3)),
    cast="low",
    results=2,
    heavy=True,
    abstract=_gru_spec,
    samples=lambda: _samples(3, "gru"),
    doc="GRU over a sequence; then the last state, and what the gradient needs: gates and states.",
)
gru_grad = Op(
    "gru_grad",
    recurrence.gru_grad,
    None,
    heavy=True,
    abstract=_grad_specs(3, 2),
    samples=lambda: _grad_samples(3, recurrence.gru, 1),
    doc="Gradients of gru in its initial state, weights, biases and input.",
)
