"""Special functions agree with SciPy over their whole ranges, and at their poles."""

import numpy as np
import pytest

special = pytest.importorskip("scipy.special")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity

WIDE = np.concatenate([np.geomspace(1e-12, 1e-2, 200), np.linspace(0.01, 12, 2001), np.geomspace(12, 1e8, 200)])


def far_from_integers(low):
    x = np.linspace(low, -0.01, 3001)
    return x[np.abs(x - np.round(x)) > 0.01]


def test_lgamma():
    # scipy's own error near the zeros at 1 and 2 is the larger one, hence an absolute tolerance
    np.testing.assert_allclose(ops.lgamma(WIDE), special.gammaln(WIDE), rtol=4e-15, atol=1e-15)
    x = far_from_integers(-40)
    np.testing.assert_allclose(ops.lgamma(x), special.gammaln(x), rtol=2e-13, atol=2e-14)


def test_digamma():
    np.testing.assert_allclose(ops.digamma(WIDE), special.digamma(WIDE), rtol=4e-15, atol=4e-16)
    x = far_from_integers(-40)
    np.testing.assert_allclose(ops.digamma(x), special.digamma(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_polygamma(n):
    x = WIDE[WIDE > 1e-6]
    np.testing.assert_allclose(ops.polygamma(n, x), special.polygamma(n, x), rtol=2e-14)


def test_polygamma_below_zero_follows_the_recurrence():
    x = far_from_integers(-6)
    for n, factor in ((1, -1.0), (2, 2.0), (3, -6.0)):
        step = factor * x ** -(n + 1.0)
        np.testing.assert_allclose(ops.polygamma(n, x), ops.polygamma(n, x + 1) - step, rtol=1e-9, atol=1e-9)


def test_erfc():
    x = np.linspace(-7, 26, 5001)
    np.testing.assert_allclose(ops.erfc(x), special.erfc(x), rtol=1e-13)  # scipy squares x without splitting it
    assert ops.erfc(np.array([0.0, np.inf, -np.inf])).tolist() == [1, 0, 2]


def test_erfinv():
    x = np.concatenate(
        [np.linspace(-0.999, 0.999, 2001), 1 - np.geomspace(1e-16, 1e-3, 200), np.geomspace(1e-300, 0.1, 99)]
    )
    np.testing.assert_allclose(ops.erfinv(x), special.erfinv(x), rtol=3e-15)
    assert ops.erfinv(np.array([1.0, -1.0])).tolist() == [np.inf, -np.inf] and np.isnan(ops.erfinv(np.array(1.5)))


def test_poles_and_infinities():
    poles = np.array([0.0, -1.0, -2.0, np.inf, -np.inf])
    np.testing.assert_array_equal(ops.lgamma(poles), np.inf)
    np.testing.assert_array_equal(ops.digamma(np.array([0.0, -0.0, -1.0, np.inf])), [-np.inf, np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(ops.polygamma(1, np.array([0.0, -1.0, np.inf])), [np.inf, np.inf, 0])
    for function in (ops.lgamma, ops.digamma, ops.erfc, ops.erfinv):
        assert np.isnan(function(np.array(np.nan)))


@pytest.mark.parametrize(
    "name, oracle", [("lgamma", "gammaln"), ("digamma", "digamma"), ("erfc", "erfc"), ("erfinv", "erfinv")]
)
def test_narrow_dtypes_are_rounded_from_double(name, oracle):
    x = np.linspace(0.05, 0.95, 64)
    for dtype in (np.float32, np.float16):
        narrow = x.astype(dtype)
        out = getattr(ops, name)(lc.tensor(narrow))
        assert out.dtype == dtype
        np.testing.assert_array_equal(out.data, getattr(special, oracle)(narrow.astype(np.float64)).astype(dtype))
    assert getattr(ops, name)(lc.tensor([1])).dtype == np.float64


def test_large_arrays_of_any_layout_are_computed_in_pieces():
    x = np.asfortranarray(np.linspace(0.1, 30, 200_000).reshape(400, 500))
    np.testing.assert_allclose(ops.lgamma(x), special.gammaln(x), rtol=4e-15, atol=1e-15)
    np.testing.assert_allclose(ops.lgamma(x[::3, ::2]), special.gammaln(x[::3, ::2]), rtol=4e-15, atol=1e-15)
