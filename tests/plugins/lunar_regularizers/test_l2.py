"""L2: definition, choice of parameters, gradient."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, NotBuiltError, StateError
from lunar_layers.dense import Dense
from lunar_layers.initializers import Constant
from lunar_layers.sequential import Sequential
from lunar_regularizers.l2 import L2


@pytest.fixture
def net():
    return Sequential(
        Dense(3, in_features=2, weight_init=Constant(2), bias_init=Constant(5)),
        Dense(1, in_features=3, weight_init=Constant(-1), bias_init=Constant(7)),
    )


def test_the_penalty_is_half_the_sum_of_squares_of_the_weights(net):
    total, weight = L2(0.1).terms(net)
    assert weight == 1.0
    assert total.item() == pytest.approx(0.05 * (6 * 4 + 3 * 1))
    assert L2(0.1)(net).item() == total.item()


def test_the_gradient_is_strength_times_the_weight(net):
    L2(0.1)(net).backward()
    np.testing.assert_allclose(net[0].weight.grad.numpy(), 0.1 * 2, rtol=1e-6)
    np.testing.assert_allclose(net[1].weight.grad.numpy(), -0.1, rtol=1e-6)
    assert net[0].bias.grad is None


def test_vectors_count_when_asked_for(net):
    assert L2(2.0, include_vectors=True)(net).item() == pytest.approx(24 + 3 + 75 + 49)


@pytest.mark.parametrize(
    "patterns, names",
    [
        (("*",), ["0.weight", "1.weight"]),
        (("0",), ["0.weight"]),
        (("1.w*", "0.weight"), ["0.weight", "1.weight"]),
        (["1"], ["1.weight"]),
    ],
)
def test_patterns_choose_parameters_or_whole_modules(net, patterns, names):
    assert list(L2(patterns=patterns).chosen(net)) == names


def test_frozen_parameters_do_not_count(net):
    net.freeze("0")
    assert list(L2().chosen(net)) == ["1.weight"]


def test_with_nothing_to_penalise_it_is_zero(net):
    net.freeze()
    assert L2()(net).item() == 0
    assert (net(lc.ones((1, 2))).sum() + L2()(net)).dtype == np.float32


def test_a_pattern_that_matches_nothing_is_an_error(net):
    with pytest.raises(StateError, match=r"L2: no parameter matches 'head.*'"):
        L2(patterns=("head.*",))(net)


def test_an_unbuilt_model_says_so():
    with pytest.raises(NotBuiltError):
        L2()(Dense(3))


def test_the_dtype_is_the_parameters(net):
    assert L2()(net.astype("float64")).dtype == np.float64


def test_hyperparameters_are_checked():
    with pytest.raises(HyperparameterError, match="strength"):
        L2(-1)
    with pytest.raises(HyperparameterError, match="patterns is empty"):
        L2(patterns=())
    with pytest.raises(HyperparameterError, match="patterns"):
        L2(patterns="weight")
