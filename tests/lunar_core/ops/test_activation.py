"""Activations at their kinks and limits, erf against the standard library, and memory order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import HyperparameterError

NAMES = ["relu", "leaky_relu", "elu", "gelu", "sigmoid", "softplus", "silu", "erf"]
inf, nan = np.inf, np.nan


@pytest.mark.parametrize(
    "name, expected",
    [
        ("relu", [0, inf, nan]),
        ("leaky_relu", [-inf, inf, nan]),
        ("elu", [-1, inf, nan]),
        ("sigmoid", [0, 1, nan]),
        ("softplus", [0, inf, nan]),
        ("erf", [-1, 1, nan]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinity_and_nan_keep_their_meaning(name, expected, dtype):
    for repeat in (1, 30000):  # small arrays and the vectorised path
        x = np.repeat(np.array([-inf, inf, nan], dtype), repeat)
        with np.errstate(all="raise", invalid="ignore"):
            y = getattr(ops, name)(x)
        np.testing.assert_array_equal(y, np.repeat(expected, repeat))
        assert y.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_large_arguments_raise_no_warning(name):
    x = lc.Tensor(np.array([-1e4, -200.0, -50.0, 0.0, 50.0, 200.0, 1e4], np.float32), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = getattr(ops, name)(x)
        y.sum().backward()
    assert np.isfinite(y.data).all() and np.isfinite(x.grad.data).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (8, 16, 40, 40)])
def test_memory_order_and_dtype_are_kept(name, size, numpy_only):
    n, c, h, w = size
    x = np.random.default_rng(0).normal(size=(n, h, w, c)).astype(np.float32)
    tensor = lc.Tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    y = getattr(ops, name)(tensor)
    assert y.dtype == np.float32 and y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(y.data, getattr(ops, name)(tensor.data.astype(np.float64)), rtol=3e-6, atol=1e-6)
    y.backward(lc.Tensor(np.ones_like(y.data)))
    assert tensor.grad.dtype == np.float32
    strided = x[:, ::2, 1:]
    np.testing.assert_array_equal(getattr(ops, name)(strided), getattr(ops, name)(strided.copy()))


@pytest.mark.parametrize("name", NAMES)
def test_they_are_methods_of_tensors(name):
    x = lc.tensor([-1.0, 0.5])
    np.testing.assert_array_equal(getattr(x, name)().data, getattr(ops, name)(x).data)


def test_slopes_at_zero():
    x = lc.Tensor(np.zeros(3), requires_grad=True)
    for function, slope in [
        (ops.relu, 0),
        (lambda x: ops.leaky_relu(x, 0.2), 0.2),
        (ops.sigmoid, 0.25),
        (ops.softplus, 0.5),
        (ops.gelu, 0.5),
        (ops.silu, 0.5),
    ]:
        (g,) = lc.grad(function(x), [x], lc.Tensor(np.ones(3)))
        np.testing.assert_allclose(g.data, slope, rtol=1e-15)


def test_erf_is_accurate_to_the_last_digits():
    x = np.linspace(-7, 7, 100001)
    exact = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(ops.erf(x), exact, rtol=1e-15, atol=0)
    single = ops.erf(x.astype(np.float32))
    assert single.dtype == np.float32 and np.abs(single).max() <= 1
    np.testing.assert_allclose(single, [math.erf(v) for v in x.astype(np.float32)], rtol=1e-6)
    tiny = np.array([0.0, 1e-300, -5e-20, 1e-8])
    np.testing.assert_allclose(ops.erf(tiny), tiny * (2 / math.sqrt(math.pi)), rtol=1e-15)


def test_erf_of_other_dtypes_follows_numpys_promotion():
    assert ops.erf(np.array([1, 2])).dtype == np.float64
    assert ops.erf(np.array([1.0], np.float16)).dtype == np.float16
    assert ops.erf(lc.tensor(0.5)).shape == ()


@given(st.floats(-30, 30))
def test_sigmoid_and_softplus_keep_their_identities(x):
    a = np.array([x])
    np.testing.assert_allclose(ops.sigmoid(a) + ops.sigmoid(-a), 1, rtol=1e-15)
    np.testing.assert_allclose(ops.softplus(a) - ops.softplus(-a), a, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ops.softplus(a, beta=2.0), ops.softplus(2 * a) / 2, rtol=1e-14)
    np.testing.assert_allclose(ops.silu(a), a * ops.sigmoid(a), rtol=1e-15)


def test_sigmoid_of_very_negative_numbers_keeps_its_digits():
    x = np.array([-40.0, -80.0])
    np.testing.assert_allclose(ops.sigmoid(x), np.exp(x), rtol=1e-14)
    np.testing.assert_allclose(ops.sigmoid(x.astype(np.float32)), np.exp(x.astype(np.float32)), rtol=1e-6)


def test_gelu_keeps_its_digits_in_the_left_tail_also_in_float32(numpy_only):
    x = np.linspace(-8, 8, 50001)
    exact = np.array([0.5 * v * math.erfc(-v * math.sqrt(0.5)) for v in x])
    np.testing.assert_allclose(ops.gelu(x.astype(np.float32)), exact, rtol=3e-6, atol=3e-7)
    np.testing.assert_allclose(ops.gelu(x), exact, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ops.gelu(np.array([-inf, inf], np.float32)), [0, inf], atol=1e-40)
    t = lc.Tensor(x.astype(np.float32), requires_grad=True)
    ops.gelu(t).sum().backward()
    slope = [0.5 * math.erfc(-v * math.sqrt(0.5)) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in x]
    np.testing.assert_allclose(t.grad.data, slope, atol=3e-6)


def test_the_two_gelus_differ_by_little_and_other_names_are_refused():
    x = np.linspace(-5, 5, 1001)
    assert 1e-5 < np.abs(ops.gelu(x) - ops.gelu(x, "tanh")).max() < 5e-4
    with pytest.raises(HyperparameterError, match="approximate must be 'none' or 'tanh', got 'fast'"):
        ops.gelu(x, "fast")


def test_slopes_and_scales_of_the_exponential_units():
    x = np.array([-2.0, 3.0])
    np.testing.assert_allclose(ops.leaky_relu(x, 0.1), [-0.2, 3])
    np.testing.assert_allclose(ops.leaky_relu(x, 3.0), [-6, 3])
    np.testing.assert_allclose(ops.leaky_relu(x, -0.5), [1, 3])
    np.testing.assert_allclose(ops.elu(x, 0.5), [0.5 * math.expm1(-2), 3])
