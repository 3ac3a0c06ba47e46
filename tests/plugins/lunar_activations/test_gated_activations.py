"""Gated units and maxout: halves, groups, gradients, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations import functional as A
from lunar_activations.gated import GEGLU, GLU, ReGLU, SwiGLU
from lunar_activations.maxout import Maxout
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device

GATES = [
    (GLU, lambda b: 1 / (1 + math.exp(-b))),
    (SwiGLU, lambda b: b / (1 + math.exp(-b))),
    (GEGLU, lambda b: b / 2 * (1 + math.erf(b / math.sqrt(2)))),
    (ReGLU, lambda b: max(b, 0)),
]
X = np.random.default_rng(0).normal(size=(2, 6, 4))


@pytest.mark.parametrize("cls, gate", GATES)
def test_the_first_half_is_the_value_and_the_second_one_the_gate(cls, gate):
    y = cls()(np.array([[3.0, -2.0, 0.5, -1.5]]))
    assert y.tolist() == [pytest.approx([3 * gate(0.5), -2 * gate(-1.5)])]


@pytest.mark.parametrize("cls, gate", GATES)
@pytest.mark.parametrize("axis, shape", [(-1, (2, 6, 2)), (1, (2, 3, 4)), (0, (1, 6, 4))])
def test_any_axis_may_be_halved(cls, gate, axis, shape):
    y = cls(axis)(lc.tensor(X))
    assert y.shape == shape and y.dtype == np.float64
    swapped = cls()(np.moveaxis(X, axis, -1))
    np.testing.assert_allclose(y.numpy(), np.moveaxis(swapped, -1, axis), rtol=1e-12)


@pytest.mark.parametrize(
    "layer", [GLU(), SwiGLU(1), GEGLU(), GEGLU(approximate="tanh")], ids=lambda v: getattr(v, "__name__", repr(v))
)
def test_gates_pass_gradient_checks_of_both_orders(layer):
    x = lc.tensor(X, requires_grad=True)
    gradcheck(layer, [x])
    gradgradcheck(layer, [x])


def test_a_feed_forward_of_the_paper_is_a_dense_layer_and_the_gate():
    rng = np.random.default_rng(1)
    x, v, w = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    z = x @ w
    expected = (z / (1 + np.exp(-z))) * (x @ v)  # Swish(x W) * (x V)
    np.testing.assert_allclose(SwiGLU()(x @ np.concatenate([v, w], axis=1)), expected, rtol=1e-12)


def test_an_odd_or_missing_axis_is_an_error():
    for cls, _ in GATES:
        with pytest.raises(ShapeError, match="even size, got 3"):
            cls()(np.ones((2, 3)))
        with pytest.raises(ShapeError, match="axis 2"):
            cls(2)(np.ones((2, 4)))
    with pytest.raises(HyperparameterError, match="approximate"):
        GEGLU(approximate="erf")


def test_maxout_takes_the_largest_of_neighbours():
    x = np.array([[1.0, 5, 2, 2, -3, -4]])
    assert Maxout()(x).tolist() == [[5, 2, -3]]
    assert Maxout(3)(x).tolist() == [[5, 2]]
    assert Maxout(2, axis=-1)(X).shape == (2, 6, 2)
    np.testing.assert_array_equal(Maxout(3)(X), X.reshape(2, 2, 3, 4).max(axis=2))


def test_maxout_sends_the_gradient_to_the_winner_and_shares_it_at_ties():
    x = lc.tensor([[1.0, 5, 2, 2]], requires_grad=True)
    Maxout()(x).sum().backward()
    assert x.grad.tolist() == [[0, 1, 0.5, 0.5]]
    gradcheck(lambda z: A.maxout(z, 3), [lc.tensor(X, requires_grad=True)])


def test_maxout_of_a_size_that_does_not_divide_is_an_error():
    with pytest.raises(ShapeError, match="axis 1 of size 6 is not made of groups of 4"):
        Maxout(4)(X)
    with pytest.raises(HyperparameterError, match="pieces"):
        Maxout(0)


@pytest.mark.parametrize(
    "layer", [GLU(), SwiGLU(), GEGLU(), ReGLU(), Maxout()], ids=lambda v: getattr(v, "__name__", repr(v))
)
def test_they_stay_on_a_device_that_refuses_numpy(layer):
    with fake_device() as device:
        x = lc.Tensor(FakeArray(X.copy()), requires_grad=True)
        layer(x).square().sum().backward()
        assert isinstance(x.grad.data, FakeArray) and device.synchronizations == 0
