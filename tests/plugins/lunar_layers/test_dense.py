"""Dense and Linear: building, dtypes, errors, copies, reprs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, NotBuiltError, ShapeError, StateError
from lunar_layers.dense import Dense, Linear
from lunar_layers.initializers import Constant, HeNormal, XavierUniform


def test_the_input_size_is_learned_from_the_first_call():
    layer = Dense(3)
    assert not layer.built
    with pytest.raises(NotBuiltError, match="Dense"):
        layer.state_dict()
    y = layer(lc.zeros((2, 5, 4)))
    assert y.shape == (2, 5, 3)
    assert {n: p.shape for n, p in layer.named_parameters()} == {"weight": (3, 4), "bias": (3,)}
    assert layer.in_features == 4


def test_in_features_builds_at_once():
    layer = Dense(3, in_features=4)
    assert layer.weight.shape == (3, 4)
    assert layer(lc.zeros((2, 4))).shape == (2, 3)


def test_linear_takes_the_sizes_in_pytorchs_order():
    layer = Linear(4, 3)
    assert layer.weight.shape == (3, 4)
    assert isinstance(layer, Dense)
    assert repr(layer) == "Linear(in_features=4, out_features=3)"


def test_without_bias_there_is_none():
    layer = Dense(3, in_features=4, use_bias=False, weight_init=Constant(2))
    assert list(dict(layer.named_parameters())) == ["weight"]
    assert layer(lc.tensor([[1.0, 2, 3, 4]])).tolist() == [[20, 20, 20]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_take_the_dtype_of_the_first_input(dtype):
    layer = Dense(3)
    assert layer(np.ones((2, 4), dtype)).dtype == dtype
    assert {p.dtype for p in layer.parameters()} == {np.dtype(dtype)}


def test_eager_parameters_take_the_default_dtype():
    with lc.default_dtype("float64"):
        assert Dense(3, in_features=4).weight.dtype == np.float64
    assert Dense(3, in_features=4).weight.dtype == np.float32


def test_a_built_layer_promotes_another_dtype():
    layer = Dense(3, in_features=4)
    assert layer(lc.zeros((2, 4), dtype="float64")).dtype == np.float64
    assert layer.astype("float64")(lc.zeros((2, 4))).dtype == np.float64


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("in_features", [None, 4])
def test_integer_inputs_are_one_clear_error_and_build_nothing(dtype, in_features):
    layer = Dense(3, in_features=in_features)
    with pytest.raises(DTypeError, match=rf"Dense expects floating-point inputs, got {dtype} of shape \(2, 4\)"):
        layer(np.ones((2, 4), dtype))
    assert layer.built is (in_features is not None)


def test_a_list_as_input_is_one_clear_error():
    with pytest.raises(DTypeError, match="Dense expects a tensor or an array, got list"):
        Dense(3)([[1.0, 2.0]])


def test_a_wrong_size_names_both_shapes_and_the_weight():
    layer = Dense(3, in_features=4)
    message = r"Dense expects inputs whose last axis is 4 \(weight is \(3, 4\)\), got \(2, 5\)"
    with pytest.raises(ShapeError, match=message):
        layer(lc.zeros((2, 5)))
    with pytest.raises(ShapeError, match=r"got \(\)"):
        layer(lc.zeros(()))


def test_inputs_without_features_are_refused():
    with pytest.raises(ShapeError, match="at least one feature"):
        Dense(3)(lc.zeros((2, 0)))


def test_a_batch_of_nothing_gives_nothing():
    assert Dense(3)(lc.zeros((0, 4))).shape == (0, 3)


def test_one_example_without_a_batch_axis_works():
    assert Dense(3)(lc.ones((4,))).shape == (3,)


def test_bad_hyperparameters_are_named():
    with pytest.raises(HyperparameterError, match="Dense: out_features must be .*> 0, got 0"):
        Dense(0)
    with pytest.raises(HyperparameterError, match="did you mean 'use_bias'"):
        Dense(3, bias=False)
    with pytest.raises(HyperparameterError, match="Dense: weight_init must be a component of class Initializer"):
        Dense(3, weight_init=np.zeros)
    with pytest.raises(HyperparameterError):  # PyTorch's order has a class of its own
        Dense(64, 10)


def test_an_initializer_can_be_given_or_named():
    lc.registry.register("initializer", "dense_test_glorot", XavierUniform)
    by_name, by_object = Dense(3, weight_init="dense_test_glorot"), Dense(3, weight_init=XavierUniform())
    assert isinstance(by_name.weight_init, XavierUniform)
    lc.seed(5)
    first = by_name(lc.ones((1, 4))).tolist()
    lc.seed(5)
    assert by_object(lc.ones((1, 4))).tolist() == first


def test_an_unknown_initializer_is_an_error_when_the_layer_is_made():
    with pytest.raises(lc.errors.UnknownNameError, match="he_wrong"):
        Dense(3, weight_init="he_wrong")


def test_the_default_initializer_needs_no_registry():
    import subprocess
    import sys

    code = (
        "import sys, lunar_layers.dense as d; d.Dense(3, in_features=4);"
        "print([m for m in sys.modules if m.startswith('lunar_core.plugins')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_seed_gives_the_same_weights_in_both_precisions():
    weights = []
    for dtype in ("float32", "float64"):
        lc.seed(3)
        layer = Dense(8)
        layer(np.ones((1, 5), dtype))
        weights.append(layer.weight.numpy() if not layer.weight.requires_grad else layer.weight.detach().numpy())
    np.testing.assert_array_equal(weights[0], weights[1].astype(np.float32))


def test_a_deep_copy_has_parameters_of_its_own():
    layer = Dense(3, in_features=4)
    other = copy.deepcopy(layer)
    before = layer.weight.detach().numpy().copy()
    with lc.no_grad():
        other.weight.fill_(0)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
    assert other.weight.requires_grad
    assert not copy.deepcopy(Dense(3)).built


def test_the_configuration_of_a_built_layer_gives_a_built_layer():
    layer = Dense(3, use_bias=False, weight_init=HeNormal("fan_out"))
    assert layer.config()["in_features"] is None
    layer(lc.zeros((1, 4)))
    again = Dense.from_config_fields(**layer.config())
    assert again.built
    again.load_state_dict(layer.state_dict())
    assert (
        repr(again)
        == repr(layer)
        == "Dense(out_features=3, in_features=4, use_bias=False, weight_init=HeNormal(mode='fan_out'))"
    )


def test_a_state_of_another_size_does_not_load():
    with pytest.raises(StateError, match="weight"):
        Dense(3, in_features=4).load_state_dict(Dense(3, in_features=5).state_dict())


def test_gradients_reach_every_leading_axis():
    layer = Dense(2, in_features=3, weight_init=Constant(1.0))
    x = lc.ones((4, 5, 3), requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == (4, 5, 3)
    np.testing.assert_array_equal(x.grad.numpy(), 2)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), 20)
    np.testing.assert_array_equal(layer.bias.grad.numpy(), 20)
