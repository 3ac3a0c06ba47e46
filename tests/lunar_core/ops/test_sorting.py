"""Sorting, searching and counting: NumPy's laws, ties, NaN, and errors."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, IndexingError, ShapeError
from lunar_core.testing import gradcheck

FLOATS = st.floats(-5, 5, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0])
ARRAYS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), elements=FLOATS)
FINITE = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), elements=st.floats(-5, 5, width=32)
)
few = settings(max_examples=60, deadline=None)


@st.composite
def with_axis(draw, arrays=ARRAYS):
    x = draw(arrays)
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


@few
@given(with_axis())
def test_sort_and_argsort_are_numpys_stable_ones(case):
    x, axis = case
    np.testing.assert_array_equal(ops.sort(x, axis), np.sort(x, axis))
    np.testing.assert_array_equal(ops.argsort(x, axis), np.argsort(x, axis, kind="stable"))


@few
@given(with_axis())
def test_descending_order_keeps_equal_elements_in_their_places(case):
    x, axis = case
    order = ops.argsort(x, axis, descending=True)
    values = np.take_along_axis(x, order, axis)
    np.testing.assert_array_equal(values, ops.sort(x, axis, descending=True))
    np.testing.assert_array_equal(values, np.flip(np.sort(x, axis), axis))
    rows, places = np.moveaxis(values, axis, -1), np.moveaxis(order, axis, -1)
    equal = (rows[..., 1:] == rows[..., :-1]) | (np.isnan(rows[..., 1:]) & np.isnan(rows[..., :-1]))
    assert (places[..., 1:] > places[..., :-1])[equal].all()


@few
@given(with_axis(), st.integers(0, 5), st.booleans())
def test_topk_is_the_start_of_the_sorted_array(case, k, largest):
    x, axis = case
    k = min(k, x.shape[axis])
    values, indices = ops.topk(x, k, axis, largest)
    ordered = ops.sort(x, axis, descending=largest)
    np.testing.assert_array_equal(values, np.take(ordered, np.arange(k), axis))
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, axis))
    rows = np.sort(np.moveaxis(indices, axis, -1), -1)
    assert (rows[..., 1:] != rows[..., :-1]).all()


def test_sorting_a_tie_shares_its_gradients_out_among_the_equal_elements():
    x = lc.tensor([2.0, 1.0, 2.0, 1.0], requires_grad=True)
    (x.sort() * lc.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert sorted(x.grad.tolist()[1::2]) == [1, 2] and sorted(x.grad.tolist()[::2]) == [3, 4]


@few
@given(with_axis(), st.booleans())
def test_an_unstable_argsort_sorts_too(case, descending):
    x, axis = case
    order = ops.argsort(x, axis, descending, stable=False)
    np.testing.assert_array_equal(np.take_along_axis(x, order, axis), ops.sort(x, axis, descending))


def test_topk_gives_a_named_pair_and_its_gradient_reaches_the_elements_picked():
    x = lc.tensor([[1.0, 4.0, 3.0]], requires_grad=True)
    top = x.topk(2)
    assert top.indices.tolist() == [[1, 2]] and top.values.tolist() == [[4, 3]]
    top.values.sum().backward()
    assert x.grad.tolist() == [[0, 1, 1]]


@few
@given(
    with_axis(),
    st.lists(st.floats(0, 1), max_size=3),
    st.sampled_from(["linear", "lower", "higher", "nearest", "midpoint"]),
)
def test_quantile_is_numpys(case, q, method):
    x, axis = case
    x = np.where(np.isinf(x), 7.0, x)
    np.testing.assert_allclose(
        ops.quantile(x, q, axis, method=method), np.quantile(x, q, axis, method=method), atol=1e-12
    )


@few
@given(ARRAYS, st.booleans(), st.data())
def test_median_is_numpys_over_any_axes(x, keepdims, data):
    axes = data.draw(st.none() | st.sets(st.integers(0, x.ndim - 1), min_size=1).map(lambda s: tuple(sorted(s))))
    x = np.where(np.isinf(x), 7.0, x)
    np.testing.assert_allclose(ops.median(x, axes, keepdims), np.median(x, axes, keepdims=keepdims))


def test_median_of_an_even_number_differs_from_the_lower_quantile():
    x = lc.tensor([4.0, 1.0, 3.0, 2.0])
    assert x.median().item() == 2.5 and x.quantile(0.5, method="lower").item() == 2.0


def test_a_quantile_of_infinite_neighbours_is_infinite():
    assert ops.median(np.array([np.inf, np.inf])) == np.inf


@few
@given(FINITE, st.data())
def test_searchsorted_in_rows_is_the_search_in_each_row(rows, data):
    rows = np.sort(rows, -1)
    count = data.draw(st.integers(0, 4))
    values = data.draw(hnp.arrays(np.float64, (*rows.shape[:-1], count), elements=st.floats(-6, 6, width=16)))
    side = data.draw(st.sampled_from(["left", "right"]))
    found = ops.searchsorted(rows, values, side=side)
    for place in np.ndindex(rows.shape[:-1]):
        np.testing.assert_array_equal(found[place], np.searchsorted(rows[place], values[place], side=side))


def test_searchsorted_takes_a_sorter_and_plain_numbers():
    assert ops.searchsorted(np.array([3.0, 1.0, 2.0]), 2.5, sorter=np.array([1, 2, 0])) == 2


@few
@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=5), elements=st.integers(0, 4)))
def test_unique_returns_what_numpys_does(x):
    got = ops.unique(lc.tensor(x), return_index=True, return_inverse=True, return_counts=True)
    expected = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


@few
@given(hnp.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, 6)), st.integers(0, 9))
def test_bincount_counts_and_adds_weights(x, minlength):
    np.testing.assert_array_equal(ops.bincount(x, minlength=minlength), np.bincount(x, minlength=minlength))
    weights = np.linspace(0, 1, x.size)
    np.testing.assert_allclose(
        ops.bincount(lc.tensor(x), lc.tensor(weights), minlength).numpy(),
        np.bincount(x, weights, minlength),
        atol=1e-14,
    )


def test_bincount_is_differentiable_in_its_weights():
    weights = lc.tensor(np.array([0.5, 1.5, 2.5]), requires_grad=True)
    gradcheck(lambda w: ops.bincount(np.array([2, 0, 2]), w), [weights])


def test_histogram_is_numpys_and_takes_tensors():
    x = np.array([0.1, 0.4, 0.5, 2.0])
    counts, edges = ops.histogram(lc.tensor(x), bins=4, range=(0, 2), density=True)
    expected = np.histogram(x, bins=4, range=(0, 2), density=True)
    np.testing.assert_allclose(counts.numpy(), expected[0])
    np.testing.assert_allclose(edges.numpy(), expected[1])
    own, _ = ops.histogram(x, lc.tensor([0.0, 0.45, 3.0]), weights=np.array([1.0, 1, 1, 5]))
    assert own.tolist() == [2, 6]


def test_numpys_functions_reach_these():
    x = lc.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    assert np.sort(x).tolist() == [[1, 2, 3]] and np.sort(x).requires_grad
    assert np.median(x, axis=1).item() == 2 and np.quantile(x, 0.5).item() == 2
    assert np.argsort(x, axis=None).tolist() == [1, 2, 0]
    assert np.unique(lc.tensor([2, 1, 2])).tolist() == [1, 2]
    assert np.count_nonzero(x) == 3


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: ops.sort(x, axis=2), ShapeError, "sort: axis 2 is out of range for an array with 2 axes"),
        (lambda x: ops.argsort(x, axis=(0, 1)), ShapeError, "argsort: axis must be an int"),
        (lambda x: ops.topk(x, 4), ShapeError, r"topk: k=4 of 3 elements on axis 1 of shape \(2, 3\)"),
        (lambda x: ops.quantile(x, 1.5), ShapeError, r"quantile: q must lie in \[0, 1\], got 1.5"),
        (lambda x: ops.quantile(x, 0.5, method="best"), ShapeError, "method must be one of linear"),
        (lambda x: ops.median(x[:0]), ShapeError, "median: no elements"),
        (lambda x: ops.median(x + 1j), DTypeError, "median: complex numbers have no order"),
        (lambda x: ops.searchsorted(x, x[:1]), ShapeError, r"searchsorted: rows of shape \(2, 3\)"),
        (lambda x: ops.searchsorted(x[0], x, side="middle"), ShapeError, "side must be 'left' or 'right'"),
        (lambda x: ops.bincount(x[0]), DTypeError, "bincount: indices must be integers"),
        (
            lambda x: ops.bincount(np.array([1, -2])),
            ShapeError,
            "bincount: expected non-negative integers, the smallest is -2",
        ),
        (lambda x: ops.bincount(np.array([[1]])), ShapeError, "bincount: expected 1-D integers"),
        (lambda x: ops.take_along_axis(x, np.array([[7]]), 1), IndexingError, "take_along_axis"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.tensor(np.arange(6.0).reshape(2, 3)))
