"""Recurrent ops: ragged batches, directions, orders of differentiation, precision, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
KINDS = list(GATES)


def inputs(kind, batch=3, length=4, width=2, size=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    gates = GATES[kind]
    x = rng.normal(size=(batch, length, width)).astype(dtype)
    states = [rng.normal(size=(batch, size)).astype(dtype) for _ in range(2 if kind == "lstm" else 1)]
    shapes = [(gates * size, width), (gates * size, size), (gates * size,), (gates * size,)]
    return x, states, [rng.normal(scale=0.6, size=s).astype(dtype) for s in shapes]


def apply(kind, x, states, weights, **options):
    return getattr(ops, kind)(x, *states, weights, **options)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_row_of_a_ragged_batch_is_as_if_it_were_alone(kind, reverse):
    x, states, weights = inputs(kind, batch=4, length=5)
    lengths = [2, 5, 1, 3]
    y, *last = apply(kind, x, states, weights, lengths=lengths, reverse=reverse)
    for i, n in enumerate(lengths):
        alone, *end = apply(kind, x[i : i + 1, :n], [s[i : i + 1] for s in states], weights, reverse=reverse)
        np.testing.assert_allclose(y[i, :n], alone[0], rtol=1e-12)
        np.testing.assert_array_equal(y[i, n:], 0)
        for a, b in zip(last, end):
            np.testing.assert_allclose(a[i], b[0], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_reverse_is_the_reversed_sequence(kind):
    x, states, weights = inputs(kind)
    y, *last = apply(kind, x, states, weights, reverse=True)
    flipped, *end = apply(kind, x[:, ::-1], states, weights)
    np.testing.assert_allclose(y, flipped[:, ::-1], rtol=1e-12)
    np.testing.assert_allclose(last[0], end[0], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_states_are_zeros_and_a_row_of_length_0_keeps_its_state(kind):
    x, states, weights = inputs(kind)
    for a, b in zip(apply(kind, x, [None] * len(states), weights), apply(kind, x, [s * 0 for s in states], weights)):
        np.testing.assert_array_equal(a, b)
    y, *last = apply(kind, x, states, weights, lengths=np.array([4, 0, 2]))
    np.testing.assert_array_equal(y[1], 0)
    for state, end in zip(states, last):
        np.testing.assert_array_equal(end[1], state[1])


@pytest.mark.parametrize("lengths", [None, [1, 4, 2]], ids=["full", "ragged"])
@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_order_of_a_ragged_batch(kind, lengths):
    x, states, weights = inputs(kind)
    tensors = [lc.Tensor(a, requires_grad=True) for a in (x, *states, *weights)]

    def function(x, *rest):
        return apply(kind, x, rest[: len(states)], rest[len(states) :], lengths=lengths, reverse=True)

    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


def test_only_what_is_asked_for_gets_a_gradient():
    x, states, weights = inputs("lstm")
    h0 = lc.Tensor(states[0], requires_grad=True)
    _, _, c = ops.lstm(lc.Tensor(x), h0, states[1], weights)
    c.sum().backward()
    assert h0.grad is not None and np.abs(h0.grad.numpy()).min() > 0


def test_half_precision_is_computed_in_single():
    for kind in KINDS:
        x, states, weights = inputs(kind, length=20, dtype=np.float16)
        exact = apply(kind, *[np.float32(x), [np.float32(s) for s in states], [np.float32(w) for w in weights]])
        t = lc.Tensor(x, requires_grad=True)
        y, *last = apply(kind, t, states, weights)
        assert y.dtype == np.float16 and all(s.dtype == np.float16 for s in last)
        np.testing.assert_array_equal(y.detach().numpy(), exact[0].astype(np.float16))
        y.sum().backward()
        assert t.grad.dtype == np.float16


@pytest.mark.parametrize("kind", KINDS)
def test_layers_run_on_a_device(kind):
    x, states, weights = inputs(kind)
    with fake_device() as device:
        tensors = [lc.Tensor(FakeArray(a.copy()), requires_grad=True) for a in (x, *states, *weights)]
        y, *_ = apply(kind, tensors[0], tensors[1 : 1 + len(states)], tensors[1 + len(states) :], lengths=[2, 4, 1])
        y.sum().backward()
        assert device.synchronizations == 0
        assert all(isinstance(t.grad.data, FakeArray) for t in tensors)
        expected = apply(kind, x, states, weights, lengths=[2, 4, 1])[0]
        np.testing.assert_allclose(y.data._a, expected, rtol=1e-12)


def test_the_outputs_are_not_the_memory_of_the_last_state():
    x, states, weights = inputs("gru")
    y, h = apply("gru", x, states, weights)
    assert not np.shares_memory(y, h)


def test_what_does_not_fit_is_named():
    x, states, weights = inputs("lstm")
    with pytest.raises(ShapeError, match=r"lstm expects x of shape \(batch, time, features\), got \(3, 2\)"):
        ops.lstm(x[:, 0], *states, weights)
    with pytest.raises(ShapeError, match=r"lstm: expected weights \(w_ih, w_hh\[, b_ih, b_hh\]\[, w_hr\]\), got 1"):
        ops.lstm(x, *states, weights[:1])
    with pytest.raises(ShapeError, match=r"w_ih must have shape \(12, 5\) for 3 hidden units"):
        ops.lstm(np.ones((3, 4, 5)), *states, weights)
    with pytest.raises(ShapeError, match=r"lstm: c0 must have shape \(3, 3\), got \(3, 2\)"):
        ops.lstm(x, states[0], states[1][:, :2], weights)
    with pytest.raises(ShapeError, match=r"w_hh must have shape \(4 \* H, H\), got \(11, 3\)"):
        ops.lstm(x, *states, [weights[0], weights[1][:11]])
    with pytest.raises(ShapeError, match=r"lengths must be 3 numbers in 0..4, got \[1, 2, 5\]"):
        ops.lstm(x, *states, weights, lengths=[1, 2, 5])
    with pytest.raises(DTypeError, match="lengths must be integers"):
        ops.lstm(x, *states, weights, lengths=[1.5, 2, 3])
    with pytest.raises(ShapeError, match="no time steps"):
        ops.lstm(x[:, :0], *states, weights)
    with pytest.raises(DTypeError, match="x is int64"):
        ops.lstm(x.astype(int), *states, weights)
    with pytest.raises(HyperparameterError, match="nonlinearity must be 'tanh' or 'relu', got 'sine'"):
        ops.rnn(x, None, inputs("rnn")[2], nonlinearity="sine")
    with pytest.raises(ShapeError, match=r"gru_cell expects x of shape \(batch, features\)"):
        ops.gru_cell(x, None, inputs("gru")[2])
