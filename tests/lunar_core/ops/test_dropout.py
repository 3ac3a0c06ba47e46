"""Dropout: what is kept, how much, and that a mask depends on the generator and the positions alone."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import HyperparameterError
from lunar_core.testing import gradcheck, gradgradcheck


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean_are_right(rate):
    y = ops.dropout(np.ones(200_000, np.float32), rate, generator())
    assert y.dtype == np.float32
    kept = y != 0
    assert abs((1 - kept.mean()) - rate) < 0.005
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-4)
    assert abs(y.mean() - 1) < 0.02


def test_the_gradient_passes_where_the_values_did():
    x = lc.Tensor(np.random.default_rng(1).normal(size=(50, 4)), requires_grad=True)
    y = ops.dropout(x, 0.4, generator())
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, y.data / x.data)
    assert gradcheck(lambda x: ops.dropout(x, 0.4, generator()), [x])
    assert gradgradcheck(lambda x: ops.dropout(x * x, 0.4, generator()), [x])


def test_the_mask_is_kept_as_bytes():
    x = lc.Tensor(np.ones((10, 10)), requires_grad=True)
    saved = ops.dropout(x, 0.5, generator()).node.saved
    assert saved.dtype == np.bool_ and saved.nbytes == 100


def test_the_mask_belongs_to_the_positions_whatever_the_memory_order():
    x = np.ones((2, 3, 4, 5))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(ops.dropout(x, 0.5, generator(3)), ops.dropout(last, 0.5, generator(3)))
    assert not np.array_equal(ops.dropout(x, 0.5, generator(3)), ops.dropout(x, 0.5, generator(4)))


def test_rates_zero_and_one_draw_nothing():
    x = lc.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert ops.dropout(x, 0.0, None) is x
    np.testing.assert_array_equal(ops.dropout(x, 1.0, None).data, [0, 0])
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(HyperparameterError, match=r"rate must be in \[0, 1\]"):
            ops.dropout(x, rate, generator())


def test_a_mask_of_another_shape_broadcasts():
    x = np.ones((4, 6, 3, 3))
    mask, scale = ops.draw_mask(x, 0.5, generator(), shape=(4, 6, 1, 1))
    y = ops.masked(x, mask, scale=scale)
    assert set(np.unique(y.sum(axis=(2, 3)))) == {0.0, 18.0}


def test_tiny_rates_still_drop_something_and_large_ones_still_keep_something():
    _, scale = ops.draw_mask(np.ones(1), 1e-9, generator())
    assert scale > 1
    mask, scale = ops.draw_mask(np.ones(1 << 20), 1 - 1e-9, generator())
    assert mask.any() and np.isfinite(scale)
