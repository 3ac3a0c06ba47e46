"""``x.at[index]``: functional writing agrees with NumPy's ufunc.at, repeated places included, and is differentiable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing import strategies as lst

UFUNCS = {"add": np.add, "multiply": np.multiply, "divide": np.divide, "min": np.minimum, "max": np.maximum}
X = np.array([[0.3, 1.9, -0.7], [2.2, 1.1, 0.4]])
INDICES = {
    "slice": (slice(None), slice(1, None)),
    "int": (1,),
    "mask": X > 1,
    "array": np.array([1]),
    "repeated": (np.array([0, 1, 0, 0]), np.array([1, 2, 1, 0])),
    "broadcast": (np.array([[0], [1]]), np.array([0, 2, 0])),
}


def value_for(index):
    count = X[index].size
    return (np.linspace(0.37, 2.61, count) ** 2 * (-1.0) ** np.arange(count)).reshape(X[index].shape)


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.parametrize("where", INDICES)
def test_writing_agrees_with_numpy_and_has_gradients(name, where):
    index = INDICES[where]
    value = value_for(index)
    expected = X.copy()
    UFUNCS[name].at(expected, index, value)
    x, v = lc.tensor(X, requires_grad=True), lc.tensor(value, requires_grad=True)

    def write(x, v):
        return getattr(x.at[index], name)(v)

    np.testing.assert_allclose(write(x, v).detach(), expected, rtol=1e-14)
    np.testing.assert_allclose(getattr(ops.at(X)[index], name)(value), expected, rtol=1e-14)  # raw arrays too
    assert gradcheck(write, [x, v]) and gradgradcheck(write, [x, v])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_index_agrees_with_numpy(data):
    x = data.draw(lst.arrays("float64", lst.shapes(1, 3, min_side=1)))
    index = data.draw(lst.indices(x.shape))
    name = data.draw(st.sampled_from(sorted(UFUNCS)))
    expected = x.copy()
    UFUNCS[name].at(expected, index, 2.0)
    places = lc.tensor(x).at[index]
    np.testing.assert_allclose(getattr(places, name)(2.0), expected, rtol=1e-13)
    np.testing.assert_array_equal(places.get(), x[index])
    expected = x.copy()
    expected[index] = 3.0
    np.testing.assert_array_equal(places.set(3.0), expected)
    np.testing.assert_array_equal(ops.index_put(lc.tensor(x), index, 3.0), expected)


def test_the_extremes_of_integers_are_those_of_the_dtype():
    x = lc.tensor([250, 3], dtype="uint8")
    assert x.at[[0, 0]].max(lc.tensor([1, 255], dtype="uint8")).tolist() == [255, 3]
    assert x.at[[1, 1]].min(lc.tensor([9, 2], dtype="uint8")).tolist() == [250, 2]


def test_the_original_is_left_alone():
    x = lc.tensor([1.0, 2.0])
    x.at[0].multiply(5.0)
    assert x.tolist() == [1, 2]
