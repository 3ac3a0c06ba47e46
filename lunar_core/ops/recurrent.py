"""Recurrent layers: a whole sequence of one layer in one direction at once, for rnn, lstm and gru; and single steps.

The gates' order and the shapes of the weights are PyTorch's.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, ShapeError
from ..op import Op
from ..tensor import Tensor
from .creation import zeros
from .layers_over_time import NONLINEARITIES, gru_layer, lstm_layer, rnn_layer


def _checked_weights(op: str, gates: int, x: Any, weights: Sequence[Any]) -> tuple[Any, Any, Any, Any, Any]:
    """w_ih, w_hh, b_ih, b_hh, w_hr with ``None`` for what is not there."""
    count = len(weights)
    if count not in ((2, 3, 4, 5) if gates == 4 else (2, 4)):
        known = "(w_ih, w_hh[, b_ih, b_hh][, w_hr])" if gates == 4 else "(w_ih, w_hh[, b_ih, b_hh])"
        raise ShapeError(f"{op}: expected weights {known}, got {count} of them")
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if count > 3 else (None, None)
    w_hr = weights[-1] if count in (3, 5) else None
    if x.ndim != 3:
        raise ShapeError(f"{op} expects x of shape (batch, time, features), got {tuple(x.shape)}")
    if x.shape[1] == 0:
        raise ShapeError(f"{op}: the sequences have no time steps, x is {tuple(x.shape)}")
    if w_hh.ndim != 2 or w_hh.shape[0] % gates:
        raise ShapeError(f"{op}: w_hh must have shape ({_times(gates)}H, H), got {tuple(w_hh.shape)}")
    rows = w_hh.shape[0]
    size = rows // gates
    out = size if w_hr is None else w_hr.shape[0]
    for name, w, shape in (
        ("w_ih", w_ih, (rows, x.shape[2])), ("w_hh", w_hh, (rows, out)), ("b_ih", b_ih, (rows,)), ("b_hh", b_hh, (rows,)),
        ("w_hr", w_hr, (out, size)),
    ):  # fmt: skip
        if w is not None and tuple(w.shape) != shape:
            raise ShapeError(
                f"{op}: {name} must have shape {shape} for {size} hidden units and x {tuple(x.shape)}, got {tuple(w.shape)}"
            )
    for name, w in (("x", x), ("w_ih", w_ih)):
        if w.dtype.kind in "biuc":
            raise DTypeError(f"{op} expects real floating arrays, {name} is {w.dtype}")
    return w_ih, w_hh, b_ih, b_hh, w_hr


def _times(gates: int) -> str:
    return f"{gates} * " if gates > 1 else ""


def _initial(op: str, name: str, state: Any, x: Any, size: int) -> Any:
    """The given state, or zeros for ``None``."""
    shape = (x.shape[0], size)
    if state is None:
        if isinstance(x, Tensor):
            return zeros(shape, x.dtype, x.device)
        return backend.of(x).xp.zeros(shape, x.dtype)
    if tuple(state.shape) != shape:
        raise ShapeError(f"{op}: {name} must have shape {shape}, got {tuple(state.shape)}")
    return state


def _run_lengths(op: str, lengths: Any, x: Any) -> tuple[Any, Any]:
    """How many rows run at each time when sorted by falling length, and that order (``None``: it is theirs already)."""
    if lengths is None:
        return None, None
    batch, length = x.shape[:2]
    if isinstance(lengths, Tensor):
        lengths = lengths.numpy()
    try:
        values = [operator.index(n) for n in (lengths.tolist() if hasattr(lengths, "tolist") else lengths)]
    except TypeError:
        raise DTypeError(f"{op}: lengths must be integers, one for each row of the batch, got {lengths!r}") from None
    if len(values) != batch or any(not 0 <= n <= length for n in values):
        raise ShapeError(f"{op}: lengths must be {batch} numbers in 0..{length}, got {values}")
    if min(values, default=length) == length:
        return None, None
    counts = tuple(sum(n > t for n in values) for t in range(length))
    order = sorted(range(batch), key=lambda i: -values[i])
    return counts, None if order == list(range(batch)) else np.array(order)


def _apply(op: Op, x: Any, states: list[Any], weights: tuple[Any, ...], lengths: Any, static: Any) -> tuple[Any, ...]:
    counts, order = _run_lengths(op.name.removesuffix("_layer"), lengths, x)
    if order is None:
        return tuple(op(x, *states, *weights, counts=counts, **static)[: 1 + len(states)])
    raw = x.data if isinstance(x, Tensor) else x
    owner = backend.of(raw)
    to, back = (owner.from_numpy(i, owner.device_of(raw)) for i in (order, np.argsort(order)))
    results = op(x[to], *[s[to] for s in states], *weights, counts=counts, **static)
    return tuple(r[back] for r in results[: 1 + len(states)])


def rnn(
    x: Any,
    h0: Any,
    weights: Sequence[Any],
    *,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> tuple[Any, Any]:
    """One layer of an Elman network over whole sequences, ``h_t = act(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Shapes: x (B, T, F), h0 (B, H) or ``None`` for zeros, weights ``(w_ih (H, F), w_hh (H, H))`` or with
    ``b_ih (H,), b_hh (H,)`` -> outputs (B, T, H) and the last state (B, H). ``nonlinearity`` is "tanh" or "relu".

    ``lengths`` (B integers on the host, in any order) says how many steps of each row count: its state stands still after
    them and its outputs are 0 there. ``reverse`` runs from the last step, of a short row its own last, to the first.

    Source: J. L. Elman, Finding structure in time, Cognitive Science 14 (1990); PyTorch's parametrisation with two biases.
    """
    if nonlinearity not in NONLINEARITIES:
        raise HyperparameterError(f"rnn: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    *params, _ = _checked_weights("rnn", 1, x, weights)
    h0 = _initial("rnn", "h0", h0, x, params[1].shape[1])
    static = {"reverse": bool(reverse), "nonlinearity": nonlinearity}
    return _apply(rnn_layer, x, [h0], tuple(params), lengths, static)  # type: ignore[return-value]


def lstm(
    x: Any, h0: Any, c0: Any, weights: Sequence[Any], *, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """One LSTM layer over whole sequences.

    ``i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh`` in this order,
    ``c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)``, ``h_t = sigmoid(o) tanh(c_t)``; with a projection ``W_hr h_t`` takes
    the place of ``h_t``.

    Shapes: x (B, T, F), h0 (B, P) and c0 (B, H) or ``None`` for zeros, weights ``(w_ih (4H, F), w_hh (4H, P))``, then
    ``b_ih (4H,), b_hh (4H,)`` if there are biases, then ``w_hr (P, H)`` if there is a projection (P = H if not)
    -> outputs (B, T, P), last output (B, P), last cell state (B, H). ``lengths`` and ``reverse`` as for :func:`rnn`.

    Source: S. Hochreiter and J. Schmidhuber, Long Short-Term Memory (1997), with the forget gate of F. Gers et al. (2000)
    and without peepholes, as PyTorch; the projection is that of arXiv:1402.1128.
    """
    params = _checked_weights("lstm", 4, x, weights)
    w_hh = params[1]
    h0 = _initial("lstm", "h0", h0, x, w_hh.shape[1])
    c0 = _initial("lstm", "c0", c0, x, w_hh.shape[0] // 4)
    return _apply(lstm_layer, x, [h0, c0], params, lengths, {"reverse": bool(reverse)})  # type: ignore[return-value]


def gru(x: Any, h0: Any, weights: Sequence[Any], *, lengths: Any = None, reverse: bool = False) -> tuple[Any, Any]:
    """One GRU layer over whole sequences.

    ``r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)``, ``z`` likewise, ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``,
    ``h_t = (1 - z) n + z h_{t-1}``; the weights hold r, z, n in this order.

    Shapes: x (B, T, F), h0 (B, H) or ``None`` for zeros, weights ``(w_ih (3H, F), w_hh (3H, H))`` or with
    ``b_ih (3H,), b_hh (3H,)`` -> outputs (B, T, H), last state (B, H). ``lengths`` and ``reverse`` as for :func:`rnn`.

    Source: K. Cho et al., arXiv:1406.1078; PyTorch's (and cuDNN's) variant, in which r acts after the hidden product.
    """
    *params, _ = _checked_weights("gru", 3, x, weights)
    h0 = _initial("gru", "h0", h0, x, params[1].shape[1])
    return _apply(gru_layer, x, [h0], tuple(params), lengths, {"reverse": bool(reverse)})  # type: ignore[return-value]


def rnn_cell(x: Any, h: Any, weights: Sequence[Any], *, nonlinearity: str = "tanh") -> Any:
    """One step of :func:`rnn`: x (B, F), h (B, H) or ``None`` -> the next state (B, H)."""
    return rnn(_step(x, "rnn_cell"), h, weights, nonlinearity=nonlinearity)[1]


def lstm_cell(x: Any, h: Any, c: Any, weights: Sequence[Any]) -> tuple[Any, Any]:
    """One step of :func:`lstm`: x (B, F), h (B, P) and c (B, H) or ``None`` -> the next h and c."""
    return lstm(_step(x, "lstm_cell"), h, c, weights)[1:]


def gru_cell(x: Any, h: Any, weights: Sequence[Any]) -> Any:
    """One step of :func:`gru`: x (B, F), h (B, H) or ``None`` -> the next state (B, H)."""
    return gru(_step(x, "gru_cell"), h, weights)[1]


def _step(x: Any, op: str) -> Any:
    if x.ndim != 2:
        raise ShapeError(f"{op} expects x of shape (batch, features), got {tuple(x.shape)}")
    return x.reshape((x.shape[0], 1, x.shape[1]))
