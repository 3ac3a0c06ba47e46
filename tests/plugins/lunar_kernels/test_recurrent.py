"""The LSTM by oneDNN: as the reference where no gradient is asked for, and left to it elsewhere."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_kernels import recurrent

fixed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.integers(1, 9)


def case(batch, length, features, size, biased, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(4 * size, features), (4 * size, size), *([(4 * size,)] * 2 if biased else [])]
    weights = [rng.normal(size=s).astype(np.float32) * 0.5 for s in shapes]
    x = rng.normal(size=(batch, length, features)).astype(np.float32)
    h0, c0 = rng.normal(size=(2, batch, size)).astype(np.float32)
    return x, h0, c0, weights


@fixed
@given(sizes, sizes, sizes, st.integers(1, 40), st.booleans(), st.booleans(), st.booleans())
def test_it_agrees_with_the_reference(onednn, batch, length, features, size, biased, reverse, time_first):
    x, h0, c0, weights = case(batch, length, features, size, biased)
    if time_first:  # as the layer before it leaves its outputs
        x = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    expected = ops.lstm(x, h0, c0, weights, reverse=reverse)  # a graph could follow: the reference
    with lc.no_grad():
        got = ops.lstm(x, h0, c0, weights, reverse=reverse)
    for a, b in zip(got, expected):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def test_it_runs_where_no_gradient_is_asked_for_and_only_there(onednn):
    x, h0, c0, weights = case(3, 4, 5, 16, True)
    args = (x, h0, c0, *weights, None, None, False)
    assert recurrent.lstm(*args) is NotImplemented
    with lc.no_grad():
        assert recurrent.lstm(*args) is not NotImplemented
        ragged = recurrent.lstm(x, h0, c0, *weights, None, np.array([3, 2, 2, 1]), False)
        double = recurrent.lstm(x.astype(np.float64), *args[1:])
        projected = recurrent.lstm(x, h0, c0, *weights, np.ones((8, 16), np.float32), None, False)
    assert ragged is double is projected is NotImplemented


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_bad_value_spoils_its_own_row_from_its_time_on(onednn, value):
    x, h0, c0, weights = case(3, 6, 5, 16, True)
    x[1, 2, 0] = float(value)
    with lc.no_grad(), np.errstate(invalid="ignore"):
        got = ops.lstm(x, h0, c0, weights)[0]
    with np.errstate(invalid="ignore"):
        expected = ops.lstm(x, h0, c0, weights)[0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
