"""ConvLSTM against its formula, written with plain loops."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.bidirectional import Bidirectional
from lunar_layers.conv_lstm import ConvLSTM, ConvLSTMCell


def convolved(x, weight):
    """Cross-correlation that keeps height and width, tap by tap."""
    n, c, h, w = x.shape
    out = np.zeros((n, weight.shape[0], h, w))
    (a, b), (top, left) = weight.shape[2:], [k // 2 for k in weight.shape[2:]]
    padded = np.zeros((n, c, h + a - 1, w + b - 1))
    padded[:, :, top : top + h, left : left + w] = x
    for u in range(a):
        for v in range(b):
            out += np.einsum("nchw,oc->nohw", padded[:, :, u : u + h, v : v + w], weight[:, :, u, v])
    return out


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def stepped(state, p, x, h, c):
    """Equation 3 of the paper."""
    n = p["weight_hh"].shape[1]
    gates = convolved(x, p["weight_ih"]) + convolved(h, p["weight_hh"]) + p["bias"][:, None, None]
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    ci, cf, co = p.get("weight_c", np.zeros(3))
    i, f = sigmoid(i + ci * c), sigmoid(f + cf * c)
    c = f * c + i * np.tanh(g)
    return sigmoid(o + co * c) * np.tanh(c), c


def randomised(layer):
    rng = np.random.default_rng(2)
    layer.load_state_dict({n: rng.normal(0, 0.5, v.shape) for n, v in layer.state_dict().items()})
    return {n: v.copy() for n, v in layer.state_dict().items()}


@pytest.mark.parametrize("peephole", [False, True], ids=["plain", "peephole"])
@pytest.mark.parametrize("kernel", [1, 3, (3, 5)], ids=str)
def test_a_cell_is_the_papers_equation(kernel, peephole):
    rng = np.random.default_rng(0)
    x, h, c = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(2, 2, 4, 5))
    cell = ConvLSTMCell(2, kernel, peephole=peephole)
    cell(lc.tensor(x))
    p = randomised(cell)
    for state in ((h, c), None):
        given = None if state is None else tuple(map(lc.tensor, state))
        found = cell(lc.tensor(x), given)
        expected = stepped(cell, p, x, *(state or (np.zeros_like(h), np.zeros_like(c))))
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("peephole", [False, True], ids=["plain", "peephole"])
def test_a_layer_runs_the_cell_over_time_and_layers(peephole):
    x = np.random.default_rng(1).normal(size=(2, 3, 2, 4, 4))
    layer = ConvLSTM(3, num_layers=2, peephole=peephole, return_state=True)
    layer(lc.tensor(x))
    p = randomised(layer)
    y, states = layer(lc.tensor(x))
    z = x
    for number in range(2):
        own = {n.removeprefix(f"cells.{number}."): v for n, v in p.items() if n.startswith(f"cells.{number}.")}
        h = c = np.zeros((2, 3, 4, 4))
        outputs = []
        for t in range(3):
            h, c = stepped(layer, own, z[:, t], h, c)
            outputs.append(h)
        z = np.stack(outputs, axis=1)
        for a, b in zip(states[number], (h, c)):
            np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(y.detach().numpy(), z, rtol=1e-9, atol=1e-12)
    _, middle = layer(lc.tensor(x[:, :1]))
    rest, _ = layer(lc.tensor(x[:, 1:]), middle)
    np.testing.assert_allclose(rest.detach().numpy(), z[:, 1:], rtol=1e-9, atol=1e-12)


def test_its_gradient_is_that_of_its_result():
    from lunar_core.testing.gradcheck import gradcheck

    layer = ConvLSTM(2, peephole=True)
    x = lc.tensor(np.random.default_rng(0).normal(size=(1, 2, 1, 2, 3)), requires_grad=True)
    layer(x)
    randomised(layer)
    gradcheck(layer, [x])


def test_it_goes_into_the_bidirectional_wrapper():
    x = lc.tensor(np.random.default_rng(0).normal(size=(2, 3, 2, 4, 4)))
    assert Bidirectional(ConvLSTM(3))(x).shape == (2, 3, 6, 4, 4)
    assert ConvLSTM(3, return_sequences=False)(x).shape == (2, 3, 4, 4)


def test_mistakes_are_told_in_words():
    with pytest.raises(HyperparameterError, match="kernel_size must be odd, so that states keep their size"):
        ConvLSTM(3, 4)
    with pytest.raises(ShapeError, match=r"\(batch, time, channels, height, width\), got \(2, 3, 4, 4\)"):
        ConvLSTM(3)(lc.ones((2, 3, 4, 4)))
    layer = ConvLSTM(3, peephole=True)
    layer(lc.ones((2, 3, 1, 4, 4)))
    with pytest.raises(ShapeError, match=r"peepholes for images of \(4, 4\), got \(6, 1, 5, 4\)"):
        layer(lc.ones((2, 3, 1, 5, 4)))
    with pytest.raises(ShapeError, match=r"a state \(h, c\) for each of 1 layers, got 2"):
        layer(lc.ones((2, 3, 1, 4, 4)), [None, None])
    with pytest.raises(ShapeError, match=r"the state c must be \(2, 3, 4, 4\), got \(2, 3, 4, 5\)"):
        ConvLSTMCell(3)(lc.ones((2, 1, 4, 4)), (lc.ones((2, 3, 4, 4)), lc.ones((2, 3, 4, 5))))
