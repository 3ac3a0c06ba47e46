"""Recurrent layers against PyTorch: values and all gradients, with every option."""

from __future__ import annotations

import numpy as np
import pytest
from twins import torch_state

import lunar_core as lc
from lunar_layers.recurrent import GRU, LSTM, RNN
from lunar_layers.recurrent_cells import GRUCell, LSTMCell, RNNCell

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

KINDS = {
    "rnn-tanh": (RNN, {}, torch.nn.RNN, {}),
    "rnn-relu": (RNN, {"nonlinearity": "relu"}, torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, {}, torch.nn.LSTM, {}),
    "lstm-projected": (LSTM, {"proj_size": 3}, torch.nn.LSTM, {"proj_size": 3}),
    "gru": (GRU, {}, torch.nn.GRU, {}),
}


def make(kind, *, layers=1, both=False, bias=True):
    ours, options, theirs, twin_options = KINDS[kind]
    layer = ours(
        5, num_layers=layers, bidirectional=both, use_bias=bias, return_state=True, input_size=4, **options
    ).astype("float64")
    twin = theirs(4, 5, layers, bidirectional=both, bias=bias, batch_first=True, dtype=torch.float64, **twin_options)
    layer.load_state_dict(torch_state(twin))
    return layer, twin


def states_of(kind, count, batch, rng):
    sizes = {"lstm": (5, 5), "lstm-projected": (3, 5)}.get(kind, (5,))
    return [rng.normal(size=(count, batch, n)) for n in sizes]


def grouped(values):
    return values[0] if len(values) == 1 else tuple(values)


def flat(outputs):
    y, state = outputs
    return [y, *(state if isinstance(state, tuple) else (state,))]


def compare(layer, twin, ours, theirs, leaves):
    """Results and all gradients of a random combination of all results agree."""
    rng = np.random.default_rng(7)
    loss, expected = 0, 0
    assert len(ours) == len(theirs)
    for y, t in zip(ours, theirs):
        np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-9, atol=1e-13)
        weight = rng.normal(size=y.shape)
        loss = loss + (y * weight).sum()
        expected = expected + (t * torch.tensor(weight)).sum()
    loss.backward()
    expected.backward()
    for x, t in leaves:
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-13)
    grads = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    wanted = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    assert grads.keys() == wanted.keys()
    for name, grad in wanted.items():
        np.testing.assert_allclose(grads[name], grad, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 3], ids=["one-layer", "three-layers"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_layer_is_pytorchs(kind, layers, both, bias):
    rng = np.random.default_rng(0)
    layer, twin = make(kind, layers=layers, both=both, bias=bias)
    x = rng.normal(size=(3, 6, 4))
    starts = states_of(kind, layers * (1 + both), 3, rng)
    ours = [lc.tensor(v, requires_grad=True) for v in (x, *starts)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, *starts)]
    compare(
        layer, twin, flat(layer(ours[0], grouped(ours[1:]))), flat(twin(theirs[0], grouped(theirs[1:]))),
        list(zip(ours, theirs)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_state_it_starts_from_zeros(kind):
    layer, twin = make(kind, layers=2)
    x = np.random.default_rng(1).normal(size=(2, 4, 4))
    ours, theirs = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    compare(layer, twin, flat(layer(ours)), flat(twin(theirs)), [(ours, theirs)])


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("given", ["lengths", "mask"])
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_batches_are_pytorchs_packed_sequences(kind, given, both):
    rng = np.random.default_rng(2)
    layer, twin = make(kind, layers=2, both=both)
    x, lengths = rng.normal(size=(4, 6, 4)), np.array([3, 6, 1, 5])
    starts = states_of(kind, 2 * (1 + both), 4, rng)
    ours = [lc.tensor(v, requires_grad=True) for v in (x, *starts)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, *starts)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(theirs[0], torch.tensor(lengths), True, enforce_sorted=False)
    y, state = twin(packed, grouped(theirs[1:]))
    y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0]
    ragged = {"lengths": lengths} if given == "lengths" else {"mask": np.arange(6) < lengths[:, None]}
    found = flat(layer(ours[0], grouped(ours[1:]), **ragged))
    compare(layer, twin, found, flat((y, state)), list(zip(ours, theirs)))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(
    "ours, theirs, options, states",
    [
        (RNNCell, torch.nn.RNNCell, {}, 1),
        (RNNCell, torch.nn.RNNCell, {"nonlinearity": "relu"}, 1),
        (LSTMCell, torch.nn.LSTMCell, {}, 2),
        (GRUCell, torch.nn.GRUCell, {}, 1),
    ],
    ids=["rnn-tanh", "rnn-relu", "lstm", "gru"],
)
def test_a_cell_is_pytorchs(ours, theirs, options, states, bias):
    rng = np.random.default_rng(3)
    layer = ours(5, input_size=4, use_bias=bias, **options).astype("float64")
    twin = theirs(4, 5, bias=bias, dtype=torch.float64, **options)
    layer.load_state_dict(torch_state(twin))
    values = [rng.normal(size=(3, 4)), *[rng.normal(size=(3, 5)) for _ in range(states)]]
    a = [lc.tensor(v, requires_grad=True) for v in values]
    b = [torch.tensor(v, requires_grad=True) for v in values]
    one, other = layer(a[0], grouped(a[1:])), twin(b[0], grouped(b[1:]))
    compare(layer, twin, list(one) if states == 2 else [one], list(other) if states == 2 else [other], list(zip(a, b)))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_agrees_too(kind):
    ours, options, theirs, twin_options = KINDS[kind]
    layer = ours(5, input_size=4, **options)
    twin = theirs(4, 5, batch_first=True, **twin_options)
    layer.load_state_dict(torch_state(twin))
    x = np.random.default_rng(4).normal(size=(3, 6, 4)).astype(np.float32)
    y = layer(lc.tensor(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.detach().numpy(), twin(torch.tensor(x))[0].detach().numpy(), rtol=1e-4, atol=1e-6)
