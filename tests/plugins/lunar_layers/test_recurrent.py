"""Recurrent layers: ragged batches, states, directions, construction, errors."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_layers.bidirectional import Bidirectional
from lunar_layers.dense import Dense
from lunar_layers.embedding import Embedding
from lunar_layers.recurrent import GRU, LSTM, RNN
from lunar_layers.recurrent_cells import GRUCell, LSTMCell, RNNCell
from lunar_layers.sequential import Sequential

LAYERS = [RNN, LSTM, GRU]
CELLS = [RNNCell, LSTMCell, GRUCell]
PAIRS = list(zip(LAYERS, CELLS))
X = np.random.default_rng(0).normal(size=(3, 6, 4))
names = pytest.mark.parametrize("cls", LAYERS, ids=lambda c: c.__name__)


def values(x):
    return x.detach().numpy()


@pytest.mark.parametrize("layer, cell", PAIRS, ids=lambda c: c.__name__)
def test_a_layer_is_its_cell_step_by_step(layer, cell):
    whole, one = layer(5, input_size=4).astype("float64"), cell(5, input_size=4).astype("float64")
    one.load_state_dict({name.removesuffix("_l0"): v for name, v in whole.state_dict().items()})
    state = None
    for t, expected in enumerate(values(whole(lc.tensor(X))).swapaxes(0, 1)):
        state = one(lc.tensor(X[:, t]), state)
        h = state[0] if isinstance(state, tuple) else state
        np.testing.assert_allclose(values(h), expected, rtol=1e-12, atol=1e-14)


@names
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
def test_steps_that_a_mask_hides_are_passed_over_wherever_they_stand(cls, both):
    layer = cls(5, bidirectional=both, return_state=True, input_size=4).astype("float64")
    mask = np.array([[0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0]], bool)
    y, state = layer(lc.tensor(X), mask=mask)
    last = state[0] if isinstance(state, tuple) else state
    for row in range(3):
        alone, end = layer(lc.tensor(X[row : row + 1, mask[row]]))
        end = end[0] if isinstance(end, tuple) else end
        np.testing.assert_allclose(values(y)[row, mask[row]], values(alone)[0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(values(last)[:, row], values(end)[:, 0], rtol=1e-12, atol=1e-14)
        assert (values(y)[row, ~mask[row]] == 0).all()


@names
def test_padding_has_no_influence_and_no_gradient(cls):
    layer, lengths = cls(5, input_size=4, num_layers=2, bidirectional=True), [2, 6, 4]
    x = lc.tensor(X.astype(np.float32), requires_grad=True)
    y = layer(x, lengths=lengths)
    y.sum().backward()
    hidden = np.arange(6) >= np.array(lengths)[:, None]
    assert (x.grad.numpy()[hidden] == 0).all()
    other = X.astype(np.float32)
    other[hidden] = 100
    np.testing.assert_array_equal(values(layer(lc.tensor(other), lengths=lengths)), values(y))


@names
def test_a_sequence_can_be_cut_and_its_state_handed_on(cls):
    layer = cls(5, num_layers=2, return_state=True, input_size=4).astype("float64")
    whole, end = layer(lc.tensor(X))
    first, state = layer(lc.tensor(X[:, :2]))
    second, last = layer(lc.tensor(X[:, 2:]), state)
    np.testing.assert_allclose(np.concatenate([values(first), values(second)], 1), values(whole), rtol=1e-12)
    for a, b in zip(end, last):
        np.testing.assert_allclose(values(a), values(b), rtol=1e-12)


@names
def test_the_last_output_is_that_of_each_sequence(cls):
    lengths = np.array([2, 6, 4])
    layer = cls(5, bidirectional=True, return_sequences=False, input_size=4)
    last = values(layer(lc.tensor(X), lengths=lengths))
    layer.return_sequences = True
    every = values(layer(lc.tensor(X), lengths=lengths))
    np.testing.assert_array_equal(last[:, :5], every[np.arange(3), lengths - 1, :5])
    np.testing.assert_array_equal(last[:, 5:], every[:, 0, 5:])


@names
def test_it_stands_in_a_sequential_model(cls):
    model = Sequential(Embedding(7, 3), cls(5), cls(4, return_sequences=False), Dense(2))
    y = model(np.array([[1, 2, 6], [0, 3, 3]]))
    assert y.shape == (2, 2)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@names
def test_dropout_lies_between_layers_and_acts_in_training_only(cls):
    layer = cls(5, num_layers=2, dropout=0.5, input_size=4)
    x = lc.tensor(X)
    assert np.abs(values(layer(x)) - values(layer(x))).max() > 0
    layer.eval()
    np.testing.assert_array_equal(values(layer(x)), values(layer(x)))
    single = cls(5, dropout=0.5, input_size=4)
    np.testing.assert_array_equal(values(single(x)), values(single(x)))


def test_gates_start_one_by_one_and_the_forget_gate_open():
    layer = LSTM(5, input_size=4)
    for gate in layer.weight_hh_l0.detach().numpy().reshape(4, 5, 5):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-5)
    assert layer.bias_ih_l0.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    assert LSTM(2, forget_bias=0.0, input_size=4).bias_ih_l0.tolist() == [0.0] * 8


@names
def test_second_derivatives_exist(cls):
    layer = cls(2, input_size=2).astype("float64")
    x = lc.tensor(X[:1, :3, :2], requires_grad=True)
    (g,) = lc.grad(layer(x).sum(), [x], create_graph=True)
    (h,) = lc.grad((g * g).sum(), [x])
    eps, direction = 1e-6, np.random.default_rng(1).normal(size=(1, 3, 2))

    def squared(at):
        z = lc.tensor(at, requires_grad=True)
        return (lc.grad(layer(z).sum(), [z])[0].numpy() ** 2).sum()

    slope = (squared(X[:1, :3, :2] + eps * direction) - squared(X[:1, :3, :2] - eps * direction)) / (2 * eps)
    np.testing.assert_allclose((h.numpy() * direction).sum(), slope, rtol=1e-6)


def test_mistakes_are_told_in_words():
    layer = LSTM(5, input_size=4)
    with pytest.raises(ShapeError, match=r"with 4 features \(weight_ih_l0 is \(20, 4\)\), got \(3, 6, 2\)"):
        layer(lc.ones((3, 6, 2)))
    with pytest.raises(ShapeError, match=r"x\[None\]"):
        layer(lc.ones((6, 4)))
    with pytest.raises(ShapeError, match=r"LSTM expects a state \(h, c\)"):
        layer(lc.ones((3, 6, 4)), lc.ones((1, 3, 5)))
    with pytest.raises(ShapeError, match=r"the state c must be .* = \(1, 3, 5\), got \(1, 3, 4\)"):
        layer(lc.ones((3, 6, 4)), (lc.ones((1, 3, 5)), lc.ones((1, 3, 4))))
    with pytest.raises(ShapeError, match=r"lengths must be 3 numbers in 0..6"):
        layer(lc.ones((3, 6, 4)), lengths=[7, 1, 1])
    with pytest.raises(DTypeError, match="lengths must be integers, got float64"):
        layer(lc.ones((3, 6, 4)), lengths=[1.5, 1, 1])
    with pytest.raises(ShapeError, match=r"mask must be \(batch, time\) = \(3, 6\)"):
        layer(lc.ones((3, 6, 4)), mask=np.ones((6, 3), bool))
    with pytest.raises(DTypeError, match="mask must hold bools"):
        layer(lc.ones((3, 6, 4)), mask=np.ones((3, 6)))
    with pytest.raises(ShapeError, match="lengths or a mask, got both"):
        layer(lc.ones((3, 6, 4)), lengths=[1, 1, 1], mask=np.ones((3, 6), bool))
    with pytest.raises(HyperparameterError, match="proj_size must be below hidden_size, 5"):
        LSTM(5, proj_size=5)
    with pytest.raises(HyperparameterError, match="nonlinearity must be one of 'tanh', 'relu'"):
        RNN(5, nonlinearity="gelu")
    with pytest.raises(ShapeError, match=r"inputs of one step, \(batch, 4\), got \(3, 6, 4\)"):
        LSTMCell(5, input_size=4)(lc.ones((3, 6, 4)))
    with pytest.raises(ShapeError, match=r"the state h must be \(batch, hidden_size\) = \(3, 5\), got \(3, 4\)"):
        GRUCell(5)(lc.ones((3, 4)), lc.ones((3, 4)))


# -- Bidirectional -----------------------------------------------------------------------------------------------------


@names
@pytest.mark.parametrize("lengths", [None, [2, 6, 4]], ids=["even", "ragged"])
def test_the_wrapper_is_the_bidirectional_layer(cls, lengths):
    wrapper = Bidirectional(cls(5)).eval()
    layer = cls(5, bidirectional=True, input_size=4)
    wrapper(lc.tensor(X.astype(np.float32)))
    state = wrapper.state_dict()
    layer.load_state_dict(
        {
            **{n.removeprefix("forward_layer."): v for n, v in state.items() if n.startswith("forward")},
            **{n.removeprefix("backward_layer.") + "_reverse": v for n, v in state.items() if n.startswith("backward")},
        }
    )
    options = {} if lengths is None else {"lengths": lengths}
    x = lc.tensor(X.astype(np.float32))
    np.testing.assert_allclose(values(wrapper(x, **options)), values(layer(x, **options)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("merge", ["sum", "mean", "mul"])
def test_outputs_can_be_merged_in_other_ways(merge):
    joined = Bidirectional(GRU(5))
    y = values(joined(lc.tensor(X)))
    other = Bidirectional(GRU(5), merge=merge)
    other(lc.tensor(X))
    other.load_state_dict(joined.state_dict())
    a, b = y[..., :5], y[..., 5:]
    expected = {"sum": a + b, "mean": (a + b) / 2, "mul": a * b}[merge]
    np.testing.assert_allclose(values(other(lc.tensor(X))), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("given", [GRU(5, input_size=4), "gru"], ids=["built", "name"])
def test_the_two_directions_have_weights_of_their_own(given):
    if given == "gru":
        with pytest.raises(HyperparameterError, match="hidden_size"):
            Bidirectional(given)
        given = {"@layer": "gru", "hidden_size": 5, "input_size": 4}
    layer = Bidirectional(given)
    one, other = layer.forward_layer.weight_ih_l0, layer.backward_layer.weight_ih_l0
    assert np.abs(values(one) - values(other)).max() > 0.01


def test_last_outputs_are_joined_too():
    layer = Bidirectional(LSTM(5, return_sequences=False))
    assert layer(lc.tensor(X), lengths=[2, 6, 4]).shape == (3, 10)
    with pytest.raises(HyperparameterError, match="return_state=True"):
        Bidirectional(LSTM(5, return_state=True))
