"""Whole-sequence recurrent ops agree with PyTorch's layers, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops

pytestmark = pytest.mark.parity

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def arrays_of(kind, batch, length, width, size, bias, projected, with_state, seed):
    """x, states, weights in the order of the ops, ``None`` for what is absent."""
    rng = np.random.default_rng(seed)
    gates, out = GATES[kind], projected or size
    shapes = [(batch, length, width), (batch, out) if with_state else None]
    if kind == "lstm":
        shapes.append((batch, size) if with_state else None)
    shapes += [(gates * size, width), (gates * size, out), *[(gates * size,) if bias else None] * 2]
    shapes.append((out, size) if projected else None)
    return [None if s is None else rng.normal(scale=0.7, size=s) for s in shapes]


def split(kind, given):
    x, *rest = given
    count = 2 if kind == "lstm" else 1
    return x, rest[:count], [w for w in rest[count:] if w is not None]


def our_call(kind, reverse, lengths, **options):
    def call(*given):
        x, states, weights = split(kind, given)
        return getattr(ops, kind)(x, *states, weights, reverse=reverse, lengths=lengths, **options)

    return call


def their_call(kind, reverse, lengths, nonlinearity="tanh"):
    """PyTorch's layer with these weights, packed for the lengths; backwards through a second direction whose twin is left out."""

    def call(*given):
        x, states, weights = split(kind, given)
        hidden = weights[1].shape[0] // GATES[kind]
        projected = len(weights) in (3, 5)
        options = {"nonlinearity": nonlinearity} if kind == "rnn" else {}
        if projected:
            options["proj_size"] = weights[-1].shape[0]
        bias = len(weights) > 3
        layer = getattr(torch.nn, kind.upper())(
            x.shape[2], hidden, batch_first=True, bias=bias, bidirectional=reverse, dtype=torch.float64, **options
        )
        names = [
            "weight_ih_l0",
            "weight_hh_l0",
            *(["bias_ih_l0", "bias_hh_l0"] if bias else []),
            *(["weight_hr_l0"] * projected),
        ]
        params = {}
        for name, w in zip(names, weights):
            params[name + "_reverse" * reverse] = w
            if reverse:
                params[name] = torch.zeros_like(w)
        if states[0] is None:
            hx = None
        else:
            stacked = [torch.stack([torch.zeros_like(s), s]) if reverse else s[None] for s in states]
            hx = tuple(stacked) if kind == "lstm" else stacked[0]
        data = x
        if lengths is not None:
            data = torch.nn.utils.rnn.pack_padded_sequence(
                x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
            )
        y, last = torch.func.functional_call(layer, params, (data, hx))
        if lengths is not None:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        if reverse:
            y = y[..., y.shape[-1] // 2 :]
        last = last if kind == "lstm" else (last,)
        return (y, *[s[-1] for s in last])

    return call


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_layer_agrees_with_pytorch(kind, data):
    batch, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    size = data.draw(st.integers(2, 4))
    projected = data.draw(st.integers(0, size - 1)) if kind == "lstm" else 0
    reverse, bias = data.draw(st.booleans()), data.draw(st.booleans())
    lengths = data.draw(st.none() | st.lists(st.integers(1, length), min_size=batch, max_size=batch))
    options = {"nonlinearity": data.draw(st.sampled_from(["tanh", "relu"]))} if kind == "rnn" else {}
    with_state, seed = data.draw(st.booleans()), data.draw(st.integers(0, 9))
    width = data.draw(st.integers(1, 3))
    arrays = arrays_of(kind, batch, length, width, size, bias, projected, with_state, seed)
    assert_same(our_call(kind, reverse, lengths, **options), their_call(kind, reverse, lengths, **options), *arrays)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_single_step_agrees_with_pytorch(kind):
    x, *rest = arrays_of(kind, 3, 1, 2, 4, True, 0, True, 3)
    x = x[:, 0]
    count = 2 if kind == "lstm" else 1

    def ours(x, *given):
        return getattr(ops, f"{kind}_cell")(x, *given[:count], given[count:-1])

    def theirs(x, *given):
        cell = {"rnn": torch.rnn_tanh_cell, "lstm": torch.lstm_cell, "gru": torch.gru_cell}[kind]
        return cell(x, given[:2] if kind == "lstm" else given[0], *given[count:-1])

    assert_same(ours, theirs, x, *rest)
