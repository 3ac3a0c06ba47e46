"""The loops over time of the recurrent layers, forward and backward, on raw arrays.

Inside, gates and cell states lie with the features first and the batch last, ``(H, B)``: the product with the recurrent weight
is then ``W h^T`` with the weight as it is, which BLAS does fastest for small batches, and each gate is one contiguous
block. Outputs lie time first, ``(T, B, H)``, so that all steps together are one matrix for the products that do not
depend on the order: the input's projection, and the gradients of input and weights.

``counts[t]`` is how many rows of the batch, sorted by falling length, are still running at time ``t``; ``None`` is all
of them. A row's states stand still where it is not running.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .linalg import product
from .normalization import single

KEPT = {1: 1, 3: 4, 4: 4}  # blocks of H numbers that a step keeps, by its number of gates


def _steps(length: int, reverse: bool) -> Iterator[tuple[int, int]]:
    """Pairs (number of the step, time)."""
    return enumerate(reversed(range(length)) if reverse else range(length))


def _time_first(x: Any) -> Any:
    """(B, T, F) -> (T * B, F), without a copy for what another recurrent layer gave."""
    return single(x).transpose(1, 0, 2).reshape(-1, x.shape[2])


def _summed(a: Any, b: Any) -> Any:
    return a if b is None else single(a) + single(b)


def _project(xp: Any, x: Any, w_ih: Any, bias: Any) -> Any:
    """``W x + b`` for all times: (gates * H, T, B)."""
    out = product(single(w_ih), _time_first(x).T)
    if bias is not None:
        out += single(bias)[:, None]
    return out.reshape(-1, x.shape[1], x.shape[0])


def _sigmoid(xp: Any, x: Any) -> None:
    """In place."""
    xp.negative(x, out=x)
    xp.exp(x, out=x)
    x += 1
    xp.divide(1, x, out=x)


def _outputs(xp: Any, states: Any, counts: Any, reverse: bool, dtype: Any) -> Any:
    """(B, T, H) from the states of all steps; 0 where a row was not running."""
    out = states[:0:-1] if reverse else states[1:]
    if counts is not None:
        out = out.copy()
        for t, n in enumerate(counts):
            out[t, n:] = 0
    return out.transpose(1, 0, 2).astype(dtype, copy=False)


def _carry(xp: Any, k: int, n: int, states: Any, cells: Any = None) -> None:
    """The states of the rows that do not run in step ``k``."""
    states[k + 1, n:] = states[k, n:]
    if cells is not None:
        cells[k + 1, :, n:] = cells[k, :, n:]


def _last(state: Any, dtype: Any) -> Any:
    return state.copy() if state.dtype == dtype else state.astype(dtype)


# -- forward -----------------------------------------------------------------------------------------------------------


def rnn(
    xp: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, counts: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, ...]:
    batch, length = x.shape[:2]
    gates = _project(xp, x, w_ih, _summed(b_ih, b_hh))
    w_hh = single(w_hh)
    states = xp.empty((length + 1, batch, h0.shape[1]), gates.dtype)
    states[0] = h0
    with np.errstate(over="ignore"):
        for k, t in _steps(length, reverse):
            n = batch if counts is None else counts[t]
            a = product(w_hh, states[k, :n].T)
            a += gates[:, t, :n]
            a = xp.tanh(a, out=a) if nonlinearity == "tanh" else xp.maximum(a, 0, out=a)
            states[k + 1, :n] = a.T
            if n < batch:
                _carry(xp, k, n, states)
    return _outputs(xp, states, counts, reverse, x.dtype), _last(states[length], x.dtype), states


def lstm(
    xp: Any,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    w_hr: Any,
    counts: Any,
    reverse: bool,
) -> tuple[Any, ...]:
    batch, length = x.shape[:2]
    size = w_hh.shape[0] // 4
    projected = _project(xp, x, w_ih, _summed(b_ih, b_hh))
    dtype = projected.dtype
    w_hh, w_hr = single(w_hh), None if w_hr is None else single(w_hr)
    gates = xp.empty((length, 4 * size, batch), dtype)
    states = xp.empty((length + 1, batch, h0.shape[1]), dtype)
    cells = xp.empty((length + 1, size, batch), dtype)
    states[0], cells[0] = h0, c0.T
    with np.errstate(over="ignore"):  # the exponential of a large number is infinity, the gate 0
        for k, t in _steps(length, reverse):
            n = batch if counts is None else counts[t]
            a = gates[t] if n == batch else gates[t, :, :n]
            xp.add(product(w_hh, states[k, :n].T), projected[:, t, :n], out=a)
            if n < batch:
                gates[t, :, n:] = 0
            _sigmoid(xp, a[: 2 * size])
            xp.tanh(a[2 * size : 3 * size], out=a[2 * size : 3 * size])
            _sigmoid(xp, a[3 * size :])
            c = cells[k + 1, :, :n]
            xp.multiply(a[size : 2 * size], cells[k, :, :n], out=c)
            c += a[:size] * a[2 * size : 3 * size]
            h = xp.tanh(c)
            h *= a[3 * size :]
            states[k + 1, :n] = h.T if w_hr is None else product(h.T, w_hr.T)
            if n < batch:
                _carry(xp, k, n, states, cells)
    y = _outputs(xp, states, counts, reverse, x.dtype)
    return y, _last(states[length], x.dtype), _last(cells[length].T, x.dtype), gates, states, cells


def gru(
    xp: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, counts: Any, reverse: bool
) -> tuple[Any, ...]:
    batch, length = x.shape[:2]
    size = h0.shape[1]
    projected = _project(xp, x, w_ih, b_ih)
    dtype = projected.dtype
    w_hh, b_hh = single(w_hh), None if b_hh is None else single(b_hh)[:, None]
    gates = xp.empty((length, 4 * size, batch), dtype)  # r, z, n and the hidden half of n before r
    states = xp.empty((length + 1, batch, size), dtype)
    states[0] = h0
    with np.errstate(over="ignore"):
        for k, t in _steps(length, reverse):
            n = batch if counts is None else counts[t]
            h = states[k, :n].T
            hidden = product(w_hh, h)
            if b_hh is not None:
                hidden += b_hh
            a = gates[t, :, :n]
            if n < batch:
                gates[t, :, n:] = 0
            rz, new, inner = a[: 2 * size], a[2 * size : 3 * size], a[3 * size :]
            xp.add(hidden[: 2 * size], projected[: 2 * size, t, :n], out=rz)
            _sigmoid(xp, rz)
            inner[...] = hidden[2 * size :]
            xp.multiply(rz[:size], inner, out=new)
            new += projected[2 * size :, t, :n]
            xp.tanh(new, out=new)
            out = h - new
            out *= rz[size:]
            out += new
            states[k + 1, :n] = out.T
            if n < batch:
                _carry(xp, k, n, states)
    return _outputs(xp, states, counts, reverse, x.dtype), _last(states[length], x.dtype), gates, states


# -- backward ----------------------------------------------------------------------------------------------------------


def _seed(xp: Any, g: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The gradient of last states as (H, B), an array to be written."""
    return xp.zeros(shape[::-1], dtype) if g is None else xp.ascontiguousarray(g.T.astype(dtype))


def _flat(gates: Any) -> Any:
    return gates.reshape(gates.shape[0], -1)


def _by_time(states: Any, reverse: bool) -> Any:
    """The states that each time's step began with: (T * B, H)."""
    before = states[-2::-1] if reverse else states[:-1]
    return before.reshape(-1, states.shape[2])


def _input_grad(dgates: Any, w_ih: Any, x: Any) -> Any:
    flat = product(_flat(dgates).T, single(w_ih))
    return flat.reshape(x.shape[1], x.shape[0], -1).transpose(1, 0, 2).astype(x.dtype, copy=False)


def rnn_grad(
    xp: Any,
    x: Any,
    w_ih: Any,
    w_hh: Any,
    states: Any,
    gy: Any,
    gh: Any,
    counts: Any,
    reverse: bool,
    nonlinearity: str,
    input_grad: bool,
) -> tuple[Any, ...]:
    """Gradients of h0, w_ih, w_hh, both biases (one array), and of x where ``input_grad``."""
    batch, length = x.shape[:2]
    size, dtype = w_hh.shape[0], states.dtype
    back = single(w_hh).T
    dh = _seed(xp, gh, (batch, size), dtype)
    dgates = xp.zeros((size, length, batch), dtype) if counts is not None else xp.empty((size, length, batch), dtype)
    for k, t in reversed(list(_steps(length, reverse))):
        n = batch if counts is None else counts[t]
        g, h = dh[:, :n], states[k + 1, :n].T
        if gy is not None:
            g += gy[:n, t].T
        slope = h > 0 if nonlinearity == "relu" else 1 - h * h
        g *= slope
        dgates[:, t, :n] = g
        dh[:, :n] = product(back, g)
    flat = _flat(dgates)
    results = dh.T, product(flat, _time_first(x)), product(flat, _by_time(states, reverse)), flat.sum(axis=1)
    return (*results, _input_grad(dgates, w_ih, x)) if input_grad else results


def lstm_grad(
    xp: Any,
    x: Any,
    w_ih: Any,
    w_hh: Any,
    w_hr: Any,
    gates: Any,
    states: Any,
    cells: Any,
    gy: Any,
    gh: Any,
    gc: Any,
    counts: Any,
    reverse: bool,
    input_grad: bool,
) -> tuple[Any, ...]:
    """Gradients of h0, c0, w_ih, w_hh, both biases (one array), of w_hr if there is one, and of x where ``input_grad``."""
    batch, length = x.shape[:2]
    size, dtype = cells.shape[1], states.dtype
    back = single(w_hh).T
    w_hr = None if w_hr is None else single(w_hr)
    dh, dc = _seed(xp, gh, states.shape[1:], dtype), _seed(xp, gc, (batch, size), dtype)
    dgates = (
        xp.zeros((4 * size, length, batch), dtype) if counts is not None else xp.empty((4 * size, length, batch), dtype)
    )
    d_hr = None if w_hr is None else xp.zeros(w_hr.shape, dtype)
    for k, t in reversed(list(_steps(length, reverse))):
        n = batch if counts is None else counts[t]
        a = gates[t, :, :n]
        i, f, g, o = a[:size], a[size : 2 * size], a[2 * size : 3 * size], a[3 * size :]
        out = dh[:, :n]
        if gy is not None:
            out += gy[:n, t].T
        tc = xp.tanh(cells[k + 1, :, :n])
        if w_hr is not None:
            d_hr += product(out, (o * tc).T)
            out = product(w_hr.T, out)
        d = xp.empty((4 * size, n), dtype)
        di, df, dg, do = d[:size], d[size : 2 * size], d[2 * size : 3 * size], d[3 * size :]
        into = dc[:, :n]
        # the gates' slopes: s (1 - s) of a sigmoid, 1 - s^2 of tanh
        xp.multiply(out, o, out=di)
        xp.multiply(tc, tc, out=dg)
        xp.subtract(1, dg, out=dg)
        di *= dg
        into += di
        xp.subtract(1, o, out=do)
        do *= o
        do *= tc
        do *= out
        xp.subtract(1, f, out=df)
        df *= f
        df *= cells[k, :, :n]
        df *= into
        xp.subtract(1, i, out=di)
        di *= i
        di *= g
        di *= into
        xp.multiply(g, g, out=dg)
        xp.subtract(1, dg, out=dg)
        dg *= i
        dg *= into
        into *= f
        dgates[:, t, :n] = d
        dh[:, :n] = product(back, d)
    flat = _flat(dgates)
    results = dh.T, dc.T, product(flat, _time_first(x)), product(flat, _by_time(states, reverse)), flat.sum(axis=1)
    if d_hr is not None:
        results = (*results, d_hr)  # type: ignore[assignment]
    return (*results, _input_grad(dgates, w_ih, x)) if input_grad else results


def gru_grad(
    xp: Any,
    x: Any,
    w_ih: Any,
    w_hh: Any,
    gates: Any,
    states: Any,
    gy: Any,
    gh: Any,
    counts: Any,
    reverse: bool,
    input_grad: bool,
) -> tuple[Any, ...]:
    """Gradients of h0, w_ih, w_hh, b_ih, b_hh, and of x where ``input_grad``."""
    batch, length = x.shape[:2]
    size, dtype = w_hh.shape[1], states.dtype
    back = single(w_hh).T
    dh = _seed(xp, gh, (batch, size), dtype)
    make = xp.zeros if counts is not None else xp.empty
    dgates = make((3 * size, length, batch), dtype)
    inner_grads = make((size, length, batch), dtype)  # in the hidden half of n, where its gradient is r times n's
    for k, t in reversed(list(_steps(length, reverse))):
        n = batch if counts is None else counts[t]
        a = gates[t, :, :n]
        r, z, new, inner = a[:size], a[size : 2 * size], a[2 * size : 3 * size], a[3 * size :]
        out = dh[:, :n]
        if gy is not None:
            out += gy[:n, t].T
        d = xp.empty((3 * size, n), dtype)
        dr, dz, dn = d[:size], d[size : 2 * size], d[2 * size :]
        xp.subtract(1, z, out=dz)
        xp.multiply(new, new, out=dn)
        xp.subtract(1, dn, out=dn)
        dn *= dz
        dn *= out
        dz *= z
        dz *= states[k, :n].T - new
        dz *= out
        xp.subtract(1, r, out=dr)
        dr *= r
        dr *= inner
        dr *= dn
        dgates[:, t, :n] = d
        dn *= r
        inner_grads[:, t, :n] = dn
        out *= z
        out += product(back, d)
    flat = _flat(dgates)
    b_ih, w_ih_grad = flat.sum(axis=1), product(flat, _time_first(x))
    gx = _input_grad(dgates, w_ih, x) if input_grad else None
    dgates[2 * size :] = inner_grads
    results = dh.T, w_ih_grad, product(flat, _by_time(states, reverse)), b_ih, flat.sum(axis=1)
    return (*results, gx) if input_grad else results
