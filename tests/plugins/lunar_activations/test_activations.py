"""Activations: shapes, dtypes, limits, hyperparameters. The formulas are held against PyTorch in the parity file."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.elu import ELU
from lunar_activations.gelu import GELU
from lunar_activations.relu import LeakyReLU, ReLU
from lunar_activations.sigmoid import Sigmoid, Tanh
from lunar_activations.softmax import Softmax
from lunar_core.contracts.activation import Activation
from lunar_core.errors import HyperparameterError, ShapeError

ALL = [
    ReLU(),
    LeakyReLU(),
    LeakyReLU(0.3),
    ELU(),
    ELU(alpha=0.5),
    GELU(),
    GELU("tanh"),
    Tanh(),
    Sigmoid(),
    Softmax(),
    Softmax(0),
]
X = np.linspace(-3, 3, 24).reshape(2, 3, 4)


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_and_dtype_are_the_inputs(layer, dtype):
    y = layer(lc.tensor(X, dtype=dtype))
    assert isinstance(layer, Activation)
    assert y.shape == X.shape
    assert y.dtype == dtype


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_there_are_no_parameters_and_it_is_built_at_once(layer):
    assert layer.built
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_a_deep_copy_computes_the_same(layer):
    np.testing.assert_array_equal(copy.deepcopy(layer)(X), layer(X))


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_gradients_are_the_same_in_training_and_in_evaluation(layer):
    x = lc.tensor(X + 0.01, requires_grad=True)
    layer(x).sum(axis=0).square().sum().backward()
    first = x.grad.numpy().copy()
    x.zero_grad()
    layer.eval()(x).sum(axis=0).square().sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), first)
    layer.train()


def test_values_at_points_that_anyone_can_check():
    x = lc.tensor([-2.0, 0.0, 3.0], dtype="float64")
    assert ReLU()(x).tolist() == [0, 0, 3]
    assert LeakyReLU(0.1)(x).tolist() == pytest.approx([-0.2, 0, 3])
    assert ELU(2.0)(x).tolist() == pytest.approx([2 * math.expm1(-2), 0, 3])
    assert Tanh()(x).tolist() == pytest.approx([math.tanh(v) for v in (-2, 0, 3)])
    assert Sigmoid()(x).tolist() == pytest.approx([1 / (1 + math.exp(-v)) for v in (-2, 0, 3)])
    assert GELU()(x).tolist() == pytest.approx([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in (-2, 0, 3)])


def test_nothing_overflows_for_huge_inputs():
    x = lc.tensor([-1e4, 1e4])
    with np.errstate(all="raise", under="ignore"):
        for layer, expected in [
            (Sigmoid(), [0, 1]),
            (Tanh(), [-1, 1]),
            (Softmax(), [0, 1]),
            (ELU(), [-1, 1e4]),
            (GELU(), [0, 1e4]),
        ]:
            assert layer(x).tolist() == pytest.approx(expected), layer


def test_a_softmax_sums_to_one_along_its_axis():
    for axis in (0, 1, -1):
        np.testing.assert_allclose(Softmax(axis)(X).sum(axis=axis), 1, rtol=1e-12)


def test_a_softmax_along_an_axis_that_is_not_there_is_an_error():
    with pytest.raises(ShapeError, match="axis 3"):
        Softmax(3)(lc.tensor(X))


def test_reprs_show_what_differs_from_the_default():
    assert [repr(layer) for layer in (ReLU(), LeakyReLU(), LeakyReLU(0.3), GELU("tanh"), Softmax(1))] == [
        "ReLU()", "LeakyReLU()", "LeakyReLU(negative_slope=0.3)", "GELU(approximate='tanh')", "Softmax(axis=1)",
    ]  # fmt: skip


def test_bad_hyperparameters_are_named():
    with pytest.raises(HyperparameterError, match=r"GELU: approximate must be one of 'none', 'tanh'"):
        GELU("erf")
    with pytest.raises(HyperparameterError, match="ELU: alpha"):
        ELU(alpha=float("nan"))
    with pytest.raises(HyperparameterError, match="negative_slope"):
        LeakyReLU(slope=0.1)
