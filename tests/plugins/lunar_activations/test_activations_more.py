"""The activations of one formula besides the first seven: dtypes, limits, kinks, hyperparameters."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_activations import functional as A
from lunar_activations.exponential import CELU, SELU
from lunar_activations.linear import Linear
from lunar_activations.piecewise import Hardsigmoid, Hardswish, Hardtanh, ReLU6, Threshold
from lunar_activations.shrink import Hardshrink, Softshrink, Tanhshrink
from lunar_activations.simplex import LogSoftmax, Softmin, Sparsemax
from lunar_activations.smooth import LogSigmoid, Mish, SiLU, Softplus, Softsign
from lunar_core.contracts.activation import Activation
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device

ALL = [
    Linear(), ReLU6(), Hardtanh(), Hardtanh(-2, 0.5), Hardsigmoid(), Hardswish(), Threshold(0.3, -1.0),
    SELU(), CELU(), CELU(0.4), SiLU(), SiLU(1.7), Mish(), Softplus(), Softplus(3.0), Softsign(), LogSigmoid(),
    Tanhshrink(), Softshrink(), Softshrink(1.5), Hardshrink(), Hardshrink(0.0),
    LogSoftmax(), LogSoftmax(0), Softmin(), Softmin(1), Sparsemax(), Sparsemax(0),
]  # fmt: skip
SMOOTH = [SiLU(), SiLU(-0.5), Mish(), Softplus(), Softplus(3.0), LogSigmoid(), Tanhshrink(), LogSoftmax(), Softmin(0)]
X = np.linspace(-4, 7, 24).reshape(2, 3, 4)


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_shape_and_dtype_are_the_inputs(layer, dtype):
    y = layer(lc.tensor(X, dtype=dtype, requires_grad=True))
    assert isinstance(layer, Activation)
    assert y.shape == X.shape and y.dtype == dtype
    y.sum().backward()


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_arrays_give_arrays_and_copies_compute_the_same(layer):
    assert isinstance(layer(X), np.ndarray)
    np.testing.assert_array_equal(copy.deepcopy(layer)(X), layer(lc.tensor(X, dtype="float64")).numpy())
    assert layer.built and not list(layer.parameters())


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_configurations_round_trip(layer):
    again = type(layer).from_config_fields(**layer.config())
    np.testing.assert_array_equal(again(X), layer(X))


@pytest.mark.parametrize("layer", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_values_and_gradients_stay_on_a_device_that_refuses_numpy(layer):
    with fake_device() as device:
        x = lc.Tensor(FakeArray(X + 0.01), requires_grad=True)
        y = layer(x)
        y.square().sum().backward()
        assert isinstance(y.data, FakeArray) and isinstance(x.grad.data, FakeArray)
        assert device.synchronizations == 0
        np.testing.assert_allclose(y.data._a, layer(X + 0.01), rtol=1e-12)


@pytest.mark.parametrize("layer", SMOOTH, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_smooth_ones_pass_gradient_checks_of_both_orders(layer):
    x = lc.tensor(np.random.default_rng(0).normal(0, 2, (3, 4)), dtype="float64", requires_grad=True)
    gradcheck(layer, [x])
    gradgradcheck(layer, [x])


def test_values_at_points_that_anyone_can_check():
    x = lc.tensor([-4.0, -1.0, 0.0, 0.25, 2.0, 8.0], dtype="float64")
    cases = {
        Linear(): [-4, -1, 0, 0.25, 2, 8],
        ReLU6(): [0, 0, 0, 0.25, 2, 6],
        Hardtanh(): [-1, -1, 0, 0.25, 1, 1],
        Hardsigmoid(): [0, 1 / 3, 0.5, 3.25 / 6, 5 / 6, 1],
        Hardswish(): [0, -1 / 3, 0, 0.25 * 3.25 / 6, 10 / 6, 8],
        Threshold(0.25, -9.0): [-9, -9, -9, -9, 2, 8],
        Softshrink(): [-3.5, -0.5, 0, 0, 1.5, 7.5],
        Hardshrink(): [-4, -1, 0, 0, 2, 8],
        Softsign(): [-0.8, -0.5, 0, 0.2, 2 / 3, 8 / 9],
        CELU(2.0): [2 * math.expm1(-2), 2 * math.expm1(-0.5), 0, 0.25, 2, 8],
        SiLU(): [v / (1 + math.exp(-v)) for v in x.tolist()],
        SiLU(2.0): [v / (1 + math.exp(-2 * v)) for v in x.tolist()],
        Mish(): [v * math.tanh(math.log1p(math.exp(v))) for v in x.tolist()],
        LogSigmoid(): [-math.log1p(math.exp(-v)) for v in x.tolist()],
    }
    for layer, expected in cases.items():
        assert layer(x).tolist() == pytest.approx(expected, rel=1e-14), layer


def test_nothing_overflows_for_huge_inputs():
    x = lc.tensor([-1e4, 1e4], requires_grad=True)
    limits = [
        (SELU(), [-1.758099340847377, 10507.0098]), (CELU(), [-1, 1e4]), (SiLU(), [0, 1e4]), (Mish(), [0, 1e4]),
        (Softplus(), [0, 1e4]), (LogSigmoid(), [-1e4, 0]), (Tanhshrink(), [-9999, 9999]), (Softmin(), [1, 0]),
        (LogSoftmax(), [-2e4, 0]), (Sparsemax(), [0, 1]), (Hardswish(), [0, 1e4]),
    ]  # fmt: skip
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for layer, expected in limits:
            with np.errstate(over="ignore" if isinstance(layer, SiLU) else "raise"):
                y = layer(x)
            assert y.tolist() == pytest.approx(expected), layer
            x.zero_grad()
            y.sum().backward()
            assert np.isfinite(x.grad.numpy()).all(), layer


def test_a_nan_stays_one():
    x = lc.tensor([float("nan"), 1.0])
    for layer in ALL:
        if layer.config().get("axis") != 0 and not isinstance(layer, (Threshold, LogSoftmax, Softmin, Sparsemax)):
            assert math.isnan(layer(x).tolist()[0]), layer


def test_slopes_at_kinks_are_the_documented_ones():
    def slopes(layer, points):
        x = lc.tensor(points, dtype="float64", requires_grad=True)
        layer(x).sum().backward()
        return x.grad.tolist()

    assert slopes(ReLU6(), [0, 6]) == slopes(Hardtanh(), [-1, 1]) == slopes(Hardsigmoid(), [-3, 3]) == [0, 0]
    assert slopes(Hardswish(), [-3, 3]) == [0, 1]
    assert slopes(Softshrink(), [-0.5, 0.5]) == slopes(Hardshrink(), [-0.5, 0.5]) == [0, 0]
    assert slopes(Threshold(1.0, 0.0), [1, 1.5]) == [0, 1]
    assert slopes(Softsign(), [0.0]) == slopes(CELU(), [0.0]) == [1]
    assert slopes(SELU(), [0.0]) == [pytest.approx(1.7580993408473766)]


def test_mish_keeps_its_tiny_values():
    assert A.mish(np.array([-700.0])).item() == pytest.approx(-700 * math.exp(-700), rel=1e-12)
    assert A.mish(np.array([9.0], np.float16)).item() == 9


def test_selu_keeps_mean_zero_and_variance_one():
    z = np.random.default_rng(0).normal(size=400_000)
    y = SELU()(z)
    assert abs(y.mean()) < 0.01 and y.var() == pytest.approx(1, abs=0.01)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=8), st.floats(-100, 100))
def test_sparsemax_is_the_nearest_point_of_the_simplex(values, offset):
    z = np.array(values)
    p = A.sparsemax(z)
    assert (p >= 0).all() and p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(A.sparsemax(z + offset), p, atol=1e-9)  # only differences matter
    # optimality: moving towards any vertex does not come nearer, <z - p, e_i - p> <= 0
    assert ((z - p) - (z - p) @ p <= 1e-9).all()


def test_sparsemax_of_two_is_a_hard_sigmoid():
    t = np.linspace(-2, 2, 41)
    expected = np.clip((t + 1) / 2, 0, 1)  # section 2.3 of the paper
    np.testing.assert_allclose(A.sparsemax(np.stack([t, 0 * t], axis=1))[:, 0], expected, atol=1e-15)


def test_sparsemax_of_nothing_is_nothing():
    assert A.sparsemax(np.empty((2, 0))).shape == (2, 0)
    assert A.sparsemax(np.empty((0, 3))).shape == (0, 3)
    with pytest.raises(ShapeError, match="one axis"):
        A.sparsemax(np.array(1.0))
    with pytest.raises(ShapeError, match="axis 2"):
        Sparsemax(2)(np.ones((2, 3)))


def test_every_activation_has_its_function():
    assert len(A.__all__) == 33
    assert all(callable(getattr(A, name)) for name in A.__all__)


def test_bad_hyperparameters_are_named():
    for make, words in [
        (lambda: Hardtanh(2.0, 1.0), "Hardtanh: min_val must be < max_val = 1"),
        (lambda: Softplus(0.0), "Softplus: beta"),
        (lambda: CELU(-1.0), "CELU: alpha"),
        (lambda: Softshrink(-0.1), "Softshrink: lambd"),
        (Threshold, "Threshold: missing 'threshold'"),
        (lambda: A.hardtanh(X, 1, 1), "hardtanh: low"),
        (lambda: A.softshrink(X, -1), "softshrink: lambd"),
        (lambda: A.celu(X, 0), "celu: alpha"),
    ]:
        with pytest.raises(HyperparameterError, match=words):
            make()
    layer = Hardtanh()
    with pytest.raises(HyperparameterError, match="min_val must be < max_val = 1"):
        layer.min_val = 3.0
