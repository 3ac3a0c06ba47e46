"""The other initializers: moments, bounds, exact properties, what Auto picks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_activations.elu import ELU
from lunar_activations.exponential import SELU
from lunar_activations.gated import SwiGLU
from lunar_activations.gelu import GELU
from lunar_activations.piecewise import Hardtanh
from lunar_activations.prelu import PReLU, RReLU
from lunar_activations.relu import LeakyReLU, ReLU
from lunar_activations.sigmoid import Sigmoid, Tanh
from lunar_activations.simplex import LogSoftmax
from lunar_activations.smooth import Mish
from lunar_activations.softmax import Softmax
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.auto_initializer import Auto, follow_activations, second_moment
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.initializers import (
    Dirac,
    HeNormal,
    Identity,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
)

DENSE, CONV = (300, 200), (40, 30, 5, 3)  # fans (200, 300) and (450, 600)
CASES = [
    (LecunNormal(), DENSE, math.sqrt(1 / 200)),
    (LecunNormal(), CONV, math.sqrt(1 / 450)),
    (LecunUniform(), CONV, math.sqrt(1 / 450)),
    (Uniform(-3, 3), DENSE, math.sqrt(3)),
    (VarianceScaling(), DENSE, math.sqrt(1 / 200)),
    (VarianceScaling(2.0, "fan_out"), CONV, math.sqrt(2 / 600)),
    (VarianceScaling(0.5, "fan_avg", "normal"), DENSE, math.sqrt(0.5 / 250)),
    (VarianceScaling(3.0, "fan_in", "uniform"), CONV, math.sqrt(3 / 450)),
    (TruncatedNormal(), DENSE, 0.8796256610342398),
    (Sparse(0.75, std=2.0), (400, 300), 1.0),  # a quarter of the variance 4 is left
]


@pytest.mark.parametrize("initializer, shape, std", CASES, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_the_deviation_is_the_formulas(initializer, shape, std):
    values = initializer(shape)
    assert values.shape == shape and values.dtype == np.float32
    assert values.std(dtype=float) == pytest.approx(std, rel=0.02)
    assert abs(values.mean(dtype=float)) < 4 * std / math.sqrt(values.size)


def test_uniform_values_fill_their_range_and_no_more():
    for initializer, low, high in [
        (Uniform(), 0, 1), (Uniform(-0.2, 0.6), -0.2, 0.6), (LecunUniform(), -math.sqrt(3 / 200), math.sqrt(3 / 200)),
    ]:  # fmt: skip
        values = initializer(DENSE)
        assert low <= values.min() < low + 1e-3 and high - 1e-3 < values.max() <= high


def test_variance_scaling_is_truncated_by_default_and_not_as_normal():
    std = math.sqrt(1 / 200)
    assert np.abs(VarianceScaling()(DENSE)).max() <= 2 * std / 0.8796 and np.abs(LecunNormal()(DENSE)).max() > 3.5 * std


def test_he_and_lecun_are_members_of_the_family():
    he, family = HeNormal()((20, 30)), None
    lc.seed(0)
    family = VarianceScaling(2.0, "fan_in", "normal")((20, 30))
    np.testing.assert_array_equal(he, family)


# mean and standard deviation of the standard normal on [a, b], by numerical integration
def moments(a, b):
    z = np.linspace(a, b, 200_001)
    w = np.exp(-(z**2 - min(abs(a), abs(b)) ** 2) / 2)
    mean = (w * z).sum() / w.sum()
    return mean, math.sqrt((w * (z - mean) ** 2).sum() / w.sum())


@pytest.mark.parametrize(
    "low, high",
    [(-2, 2), (-1, 3), (0.5, 0.9), (-0.3, 0.4), (0, 5), (2, 40), (6, 6.1), (-9, -7), (-40, 0.1), (0.01, 30)],
)
def test_truncated_values_have_the_truncated_densitys_moments(low, high):
    values = TruncatedNormal(mean=10.0, std=3.0, low=10 + 3 * low, high=10 + 3 * high).sample(
        (200, 500), np.random.default_rng(0)
    )
    z = (values - 10) / 3
    mean, std = moments(low, high)
    assert low - 1e-12 <= z.min() and z.max() <= high + 1e-12
    assert z.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(z.size))
    assert z.std() == pytest.approx(std, rel=0.02)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(1, 3), max_size=2), st.floats(0.1, 3))
def test_orthogonal_weights_have_orthonormal_rows_or_columns(rows, inputs, kernel, gain):
    with lc.default_dtype("float64"):
        w = Orthogonal(gain)((rows, inputs, *kernel)).reshape(rows, -1)
    product = w @ w.T if rows <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-13 * gain**2)


def test_orthogonal_weights_favour_no_direction():
    corners = np.array([Orthogonal().sample((3, 3), np.random.default_rng(i)) for i in range(4000)])
    np.testing.assert_allclose(corners.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose((corners**2).mean(axis=0), 1 / 3, atol=0.03)
    assert abs(np.linalg.det(corners).mean()) < 0.1  # reflections as often as rotations


def test_identity_and_dirac_pass_their_inputs_on():
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 5))
    np.testing.assert_array_equal(x[:, :, 0, 0] @ Identity()((3, 3)).T, x[:, :, 0, 0])
    np.testing.assert_array_equal(Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    with lc.default_dtype("float64"):
        np.testing.assert_array_equal(lc.ops.conv2d(x, Dirac()((3, 3, 3, 3)), padding=1), x)
        grouped = Dirac(groups=3)((6, 1, 3, 3))
    assert grouped.sum() == 3 and grouped[0, 0, 1, 1] == grouped[2, 0, 1, 1] == grouped[4, 0, 1, 1] == 1


def test_sparse_columns_have_their_share_of_zeros():
    values = Sparse(0.35)((10, 50))
    np.testing.assert_array_equal((values == 0).sum(axis=0), 4)
    assert len({tuple(c) for c in (values == 0).T}) > 20
    assert not Sparse(1.0)((3, 4)).any() and Sparse(0.0)((3, 4)).all()


def test_shapes_that_do_not_fit_are_errors():
    for initializer, shape, words in [
        (Orthogonal(), (5,), r"Orthogonal makes weights of at least 2 axes, got shape \(5,\)"),
        (Identity(), (2, 2, 1), "Identity makes weights of 2 axes"),
        (Sparse(0.5), (2,), "Sparse makes"),
        (Dirac(), (2, 2), "Dirac makes weights of 3 to 5 axes"),
        (Dirac(groups=2), (3, 2, 1), "not divisible by groups = 2"),
    ]:
        with pytest.raises(ShapeError, match=words):
            initializer(shape)


def test_bad_hyperparameters_are_named():
    for make, words in [
        (lambda: Uniform(1, 1), "Uniform: low must be < high = 1"),
        (lambda: TruncatedNormal(low=3), "TruncatedNormal: low"),
        (lambda: TruncatedNormal(std=0), "TruncatedNormal: std"),
        (lambda: VarianceScaling(distribution="gaussian"), "VarianceScaling: distribution"),
        (lambda: Sparse(1.5), "Sparse: sparsity"),
        (lambda: Dirac(0), "Dirac: groups"),
        (lambda: Auto(3), "Auto: activation"),
        (lambda: Auto(distribution="t"), "Auto: distribution"),
    ]:
        with pytest.raises(HyperparameterError, match=words):
            make()


def test_the_seed_decides_and_each_draw_is_another():
    for initializer in [TruncatedNormal(), Orthogonal(), Sparse(0.5), Auto(ReLU())]:
        lc.seed(0)
        first, second = initializer((6, 6)), initializer((6, 6))
        assert not np.array_equal(first, second)
        lc.seed(0)
        np.testing.assert_array_equal(initializer((6, 6)), first)


# -- auto --------------------------------------------------------------------------------------------------------------


def test_auto_is_hes_rule_for_rectifiers_and_lecuns_for_selu():
    assert repr(Auto(ReLU()).choice) == "VarianceScaling(scale=2.0, distribution='normal')"
    for activation, slope in [(LeakyReLU(0.2), 0.2), (PReLU(), 0.25), (PReLU(64, 0.1), 0.1), (RReLU(0.1, 0.3), 0.2)]:
        assert Auto(activation).choice.scale == pytest.approx(2 / (1 + slope**2), rel=1e-9)
    assert Auto(SELU()).choice.scale == pytest.approx(1, rel=1e-6)


def test_auto_is_xavier_for_saturating_linear_and_vector_activations():
    for activation in [None, Tanh(), Sigmoid(), Hardtanh(), Softmax(), Softmax(0), LogSoftmax(), SwiGLU()]:
        assert type(Auto(activation).choice) is XavierNormal
        assert type(Auto(activation, "uniform").choice) is XavierUniform


@pytest.mark.parametrize(
    "activation", [ReLU(), GELU(), Mish(), ELU(), SELU(), LeakyReLU(0.3)], ids=lambda v: getattr(v, "__name__", repr(v))
)
def test_auto_keeps_the_mean_square_from_one_layer_to_the_next(activation):
    z = np.random.default_rng(0).normal(size=(1000, 600))
    after = activation(z) @ Auto(activation)((600, 600)).T
    assert np.mean(after**2) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("activation", [ReLU(), SELU()], ids=lambda v: getattr(v, "__name__", repr(v)))
def test_auto_keeps_the_signal_through_a_deep_network(activation):
    x = np.random.default_rng(0).normal(size=(256, 400))
    for _ in range(20):
        x = activation(x @ Auto(activation)((400, 400)).T)
    assert 0.2 < np.mean(x**2) < 3


def test_auto_takes_registry_names():
    lc.registry.register("activation", "auto_test_relu", ReLU)
    assert Auto("auto_test_relu").choice.scale == 2
    assert isinstance(Auto("auto_test_relu").activation, ReLU)


def test_the_moment_of_a_vector_activation_is_not_asked_for():
    assert second_moment(Softmax(0)) is None and second_moment(SwiGLU()) is None
    assert second_moment(ReLU()) == pytest.approx(0.5, rel=1e-12)


def test_layers_are_told_which_activation_follows():
    layers = [
        Dense(5, weight_init=Auto()), Dropout(0.5), ReLU(),
        Dense(5, weight_init=Auto(Tanh())), GELU(),
        Dense(5, weight_init=Auto(distribution="uniform")), GELU(), Tanh(),
        Dense(5), ReLU(), Dense(2, weight_init=Auto()),
    ]  # fmt: skip
    assert follow_activations(layers) == 2
    told = [getattr(layers[i].weight_init, "activation", "none") for i in (0, 3, 5, 8, 10)]
    assert [type(a).__name__ for a in told] == ["ReLU", "Tanh", "GELU", "str", "NoneType"]
    assert layers[5].weight_init.distribution == "uniform"
