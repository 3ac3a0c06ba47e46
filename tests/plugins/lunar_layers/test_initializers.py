"""Initializers: moments, bounds, fans, reproducibility."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_layers.initializers import (
    Constant,
    HeNormal,
    HeUniform,
    Normal,
    Ones,
    XavierNormal,
    XavierUniform,
    Zeros,
)

DENSE, CONV = (300, 200), (40, 30, 5, 3)  # fans (200, 300) and (450, 600)
CASES = [
    (HeNormal(), DENSE, math.sqrt(2 / 200)),
    (HeNormal(), CONV, math.sqrt(2 / 450)),
    (HeNormal("fan_out"), CONV, math.sqrt(2 / 600)),
    (HeNormal("fan_avg"), DENSE, math.sqrt(2 / 250)),
    (HeNormal(negative_slope=0.2), DENSE, math.sqrt(2 / 1.04 / 200)),
    (HeUniform(), DENSE, math.sqrt(2 / 200)),
    (HeUniform("fan_out", negative_slope=1.0), CONV, math.sqrt(1 / 600)),
    (XavierNormal(), DENSE, math.sqrt(2 / 500)),
    (XavierNormal(gain=3), CONV, 3 * math.sqrt(2 / 1050)),
    (XavierUniform(), CONV, math.sqrt(2 / 1050)),
    (XavierUniform(gain=0.5), DENSE, 0.5 * math.sqrt(2 / 500)),
    (Normal(), DENSE, 1.0),
    (Normal(std=0.02), CONV, 0.02),
]


@pytest.mark.parametrize("initializer, shape, std", CASES, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_the_deviation_is_the_formulas(initializer, shape, std):
    values = initializer(shape)
    assert values.shape == shape
    assert values.dtype == np.float32
    assert values.std(dtype=float) == pytest.approx(std, rel=0.02)
    assert abs(values.mean(dtype=float)) < 4 * std / math.sqrt(values.size)


@pytest.mark.parametrize("initializer, std", [(HeUniform(), math.sqrt(2 / 200)), (XavierUniform(), math.sqrt(2 / 500))])
def test_uniform_values_fill_their_range_and_no_more(initializer, std):
    values = initializer(DENSE)
    assert np.abs(values).max() == pytest.approx(std * math.sqrt(3), rel=1e-3)


def test_normal_values_are_not_truncated():
    assert np.abs(HeNormal()(DENSE)).max() > 3.5 * math.sqrt(2 / 200)


def test_constants_are_constant():
    np.testing.assert_array_equal(Zeros()((2, 3)), 0)
    np.testing.assert_array_equal(Ones()((3,)), 1)
    np.testing.assert_array_equal(Constant(-2.5)((2, 1)), -2.5)
    assert Normal(mean=7, std=0)((2,)).tolist() == [7, 7]


def test_the_seed_decides_and_each_draw_is_another():
    first, second = HeNormal()((4, 4)), HeNormal()((4, 4))
    assert not np.array_equal(first, second)
    lc.seed(0)
    np.testing.assert_array_equal(HeNormal()((4, 4)), first)


def test_the_default_dtype_is_kept():
    with lc.default_dtype("float64"):
        assert XavierNormal()((2, 2)).dtype == np.float64


def test_shapes_of_vectors_have_a_fan_too():
    for initializer in (HeNormal(), HeUniform(), XavierNormal(), XavierUniform()):
        assert initializer((50,)).shape == (50,)
        assert np.isfinite(initializer(())).all()


def test_bad_hyperparameters_are_named():
    with pytest.raises(HyperparameterError, match="HeNormal: mode must be .*'fan_in'"):
        HeNormal("in")
    with pytest.raises(HyperparameterError, match="Normal: std"):
        Normal(std=-1)
    with pytest.raises(HyperparameterError, match="Constant: missing 'value'"):
        Constant()
