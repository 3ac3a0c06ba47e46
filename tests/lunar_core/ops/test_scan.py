"""Running products and extrema: NumPy's laws, zeros, NaN and long axes."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, ShapeError

ARRAYS = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6),
    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, np.nan]),
)  # fmt: skip
few = settings(max_examples=60, deadline=None)


@few
@given(ARRAYS, st.data())
def test_running_values_are_numpys(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    np.testing.assert_array_equal(ops.cummax(x, axis), np.maximum.accumulate(x, axis))
    np.testing.assert_array_equal(ops.cummin(x, axis), np.minimum.accumulate(x, axis))
    np.testing.assert_array_equal(ops.cumprod(x, axis), np.cumprod(x, axis))


@few
@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.sampled_from([-1.5, 0.0, 0.5, 2.0])))
def test_the_gradient_of_cumprod_is_the_sum_of_products_of_the_others(x):
    g = np.linspace(1, 2, x.size)
    t = lc.tensor(x, requires_grad=True)
    t.cumprod(0).backward(lc.tensor(g))
    expected = [sum(g[k] * np.prod(np.delete(x[: k + 1], i)) for k in range(i, x.size)) for i in range(x.size)]
    np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_the_last_of_equal_elements_gets_the_gradient_of_a_running_maximum():
    x = lc.tensor([1.0, 1.0, 0.5, 2.0, 2.0], requires_grad=True)
    x.cummax(0).sum().backward()
    assert x.grad.tolist() == [1, 2, 0, 1, 1]


def test_a_long_axis_costs_no_python_loop_over_its_elements():
    x = lc.tensor(np.full(100_000, 1.0 + 1e-6), requires_grad=True)
    ops.cumprod(x, 0).sum().backward()
    n, r = x.size, 1.0 + 1e-6
    assert x.grad.data[-1] == pytest.approx(r ** (n - 1), rel=1e-9)
    assert x.grad.data[0] == pytest.approx(sum(r**k for k in range(n)), rel=1e-9)


def test_mistakes_are_named():
    with pytest.raises(ShapeError, match="cumprod: axis 1 is out of range"):
        ops.cumprod(lc.tensor([1.0]), 1)
    with pytest.raises(DTypeError, match="cummax: complex numbers have no order"):
        ops.cummax(lc.tensor([1j]))
