"""Reading and writing by arrays of positions: NumPy's laws and errors."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, IndexingError, ShapeError

few = settings(max_examples=60, deadline=None)


@few
@given(st.data())
def test_take_is_numpys_and_its_gradient_counts_the_reads(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    n = x.size if axis is None else x.shape[axis]
    shapes = hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
    indices = data.draw(hnp.arrays(np.int64, shapes, elements=st.integers(-n, n - 1)))
    t = lc.tensor(x, requires_grad=True)
    got = ops.take(t, lc.tensor(indices), axis)
    np.testing.assert_array_equal(got.data, np.take(x, indices, axis))
    got.sum().backward()
    counts = np.bincount((indices % n).reshape(-1), minlength=n).astype(float)
    if axis is None:
        np.testing.assert_array_equal(t.grad.data, counts.reshape(shape))
    else:
        wide = counts.reshape((-1,) + (1,) * (x.ndim - 1 - axis % x.ndim))
        np.testing.assert_array_equal(t.grad.data, np.broadcast_to(wide, shape))


def test_take_reads_plain_lists_and_numbers():
    x = lc.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.take([[0, 3]]).tolist() == [[1, 4]] and x.take(1, axis=0).tolist() == [3, 4]
    assert x.take([], axis=0).shape == (0, 2)


@few
@given(st.data())
def test_scatter_then_gather_gives_the_values_back(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    axis = data.draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    order = np.argsort(rng.random(shape), axis=axis)
    keep = tuple(slice(0, data.draw(st.integers(1, n))) for n in shape)
    index = order[keep]
    x, src = rng.random(shape), rng.random(index.shape)
    written = ops.scatter(lc.tensor(x), axis, lc.tensor(index), lc.tensor(src))
    np.testing.assert_array_equal(ops.gather(written, axis, lc.tensor(index)).data, src)
    expected = x.copy()
    np.put_along_axis(expected[tuple(k if i != axis else slice(None) for i, k in enumerate(keep))], index, src, axis)
    np.testing.assert_array_equal(written.data, expected)
    added = ops.scatter_add(lc.tensor(x), axis, lc.tensor(index), lc.tensor(src))
    alone = ops.scatter(lc.tensor(x * 0), axis, lc.tensor(index), lc.tensor(src))
    np.testing.assert_allclose(added.data - x, alone.data, atol=1e-14)


def test_scatter_leaves_its_input_alone():
    x = lc.tensor([1.0, 2.0, 3.0])
    assert ops.scatter(x, 0, lc.tensor([1]), 9.0).tolist() == [1, 9, 3] and x.tolist() == [1, 2, 3]


def test_scatter_add_sums_repeated_places():
    assert ops.scatter_add(lc.tensor([0.0, 0.0]), 0, lc.tensor([1, 1, 1]), lc.tensor([1.0, 2.0, 3.0])).tolist() == [
        0,
        6,
    ]


def test_masked_fill_keeps_the_dtype():
    x = lc.tensor([1, 2, 3])
    filled = x.masked_fill(x > 1, 0)
    assert filled.tolist() == [1, 0, 0] and filled.dtype == np.int64
    half = lc.tensor([1.0, 2.0], dtype="float16")
    assert half.masked_fill(half > 1, -1e4).dtype == np.float16


def test_masked_fill_stops_the_gradient_of_what_it_fills():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    x.masked_fill(lc.tensor([True, False]), float("-inf"))[1].backward()
    assert x.grad.tolist() == [0, 1]


def test_masked_select_and_nonzero_agree_with_numpy():
    x = np.array([[0.0, 2.0], [3.0, 0.0]])
    assert lc.tensor(x).masked_select(lc.tensor(x > 0)).tolist() == [2, 3]
    rows, columns = lc.tensor(x).nonzero()
    assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]


def test_index_put_writes_and_accumulates():
    x = lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert ops.index_put(x, slice(0, 2), 0.0).tolist() == [0, 0, 3]
    assert ops.index_put(x, [0, 0], lc.tensor([5.0, 6.0]), accumulate=True).tolist() == [12, 2, 3]


def test_numpys_functions_reach_these():
    x = lc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert np.take(x, [1], axis=1).tolist() == [[2], [4]] and np.take(x, [1], axis=1).requires_grad
    assert [i.tolist() for i in np.nonzero(lc.tensor([0, 5]))] == [[1]]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: ops.take(x, [7], axis=1), IndexingError, "take: indices span 7..7, expected -3..2 on axis 1"),
        (lambda x: ops.take(x, [0.5]), DTypeError, "take: indices must be integers"),
        (
            lambda x: ops.gather(x, 0, lc.tensor([0])),
            ShapeError,
            r"gather: an index of shape \(1,\) must have the rank of x",
        ),
        (lambda x: ops.gather(x, 1, lc.tensor([[0], [0], [0]])), ShapeError, "no larger than it except on axis 1"),
        (lambda x: ops.gather(x, 0, lc.tensor([[1.0]])), DTypeError, "gather: indices must be integers"),
        (lambda x: ops.gather(x, 1, lc.tensor([[5]])), IndexingError, "gather: indices span 5..5"),
        (
            lambda x: ops.scatter(x, 1, lc.tensor([[5]]), 1.0),
            IndexingError,
            "scatter: indices span 5..5, expected -3..2 on axis 1",
        ),
        (lambda x: ops.scatter(x, 1, lc.tensor([[0, 1]]), x[:, :1]), ShapeError, "scatter: src of shape"),
        (
            lambda x: ops.scatter(x, 1, lc.tensor([[0]]), lc.tensor([[1]])),
            DTypeError,
            "scatter: src is int64, x is float64",
        ),
        (lambda x: ops.masked_fill(x, x, 0.0), DTypeError, "masked_fill: the mask must hold bools, got float64"),
        (lambda x: ops.masked_fill(x[0], x > 0, 0.0), ShapeError, "takes a mask that broadcasts to it"),
        (lambda x: ops.masked_fill(x, x > 0, x), ShapeError, "a value with 2 axes"),
        (lambda x: ops.masked_select(x, x[:, :2] > 0), ShapeError, "masked_select: shapes"),
        (lambda x: ops.nonzero(x.sum()), ShapeError, "nonzero: x has no axes"),
        (lambda x: ops.take_along_axis(x, lc.tensor([[0], [0], [0]]), 1), ShapeError, "do not broadcast beside axis 1"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.tensor(np.arange(6.0).reshape(2, 3)))
