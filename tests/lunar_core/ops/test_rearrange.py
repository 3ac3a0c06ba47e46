"""Copying, cutting, turning and masking whole arrays: NumPy's laws and errors."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ShapeError

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
few = settings(max_examples=80, deadline=None)


def counting(shape):
    return np.arange(float(np.prod(shape))).reshape(shape)


@few
@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), st.lists(st.integers(0, 3), max_size=4))
def test_tile_is_numpys(shape, reps):
    np.testing.assert_array_equal(ops.tile(counting(shape), reps), np.tile(counting(shape), reps))


@few
@given(SHAPES, st.data())
def test_repeat_is_numpys(shape, data):
    x = counting(shape)
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    n = x.size if axis is None else x.shape[axis]
    counts = data.draw(st.integers(0, 3) | st.lists(st.integers(0, 3), min_size=n, max_size=n))
    np.testing.assert_array_equal(ops.repeat(x, counts, axis), np.repeat(x, counts, axis))


@few
@given(SHAPES, st.data())
def test_roll_is_numpys_and_its_gradient_rolls_back(shape, data):
    x = counting(shape)
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    shift = data.draw(st.integers(-9, 9))
    t = lc.tensor(x, requires_grad=True)
    out = ops.roll(t, shift, axis)
    np.testing.assert_array_equal(out.data, np.roll(x, shift, axis))
    out.backward(lc.tensor(np.roll(x, shift, axis)))
    np.testing.assert_array_equal(t.grad.data, x)


@few
@given(SHAPES, st.integers(1, 6), st.data())
def test_chunks_join_to_the_whole_and_differ_in_the_last_only(shape, chunks, data):
    x = counting(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    parts = ops.chunk(x, chunks, axis)
    assert 1 <= len(parts) <= max(chunks, 1)
    np.testing.assert_array_equal(np.concatenate(parts, axis), x)
    assert len({p.shape[axis] for p in parts[:-1]}) <= 1 and parts[-1].shape[axis] <= parts[0].shape[axis]


@few
@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.sampled_from(["xy", "ij"]))
def test_meshgrid_is_numpys(sizes, indexing):
    xs = [np.arange(float(n)) for n in sizes]
    for a, b in zip(ops.meshgrid(*xs, indexing=indexing), np.meshgrid(*xs, indexing=indexing), strict=True):
        np.testing.assert_array_equal(a, b)


@few
@given(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4), st.integers(-4, 4))
def test_triangles_and_diagonals_are_numpys(shape, k):
    x = counting(shape)
    np.testing.assert_array_equal(ops.tril(x, k), np.tril(x, k))
    np.testing.assert_array_equal(ops.triu(x, k), np.triu(x, k))
    np.testing.assert_array_equal(ops.diagonal(x, k), np.diagonal(x, k))
    np.testing.assert_array_equal(ops.diagonal(x, k, -1, 0), np.diagonal(x, k, -1, 0))
    np.testing.assert_array_equal(
        ops.diag(x[0, ...] if x.ndim == 3 else x, k), np.diag(x[0, ...] if x.ndim == 3 else x, k)
    )


@pytest.mark.parametrize("k", [-3, -1, 0, 2, 1030])
def test_triangles_of_large_matrices_are_numpys(k):
    x = counting((2, 4, 1040))
    np.testing.assert_array_equal(ops.tril(x, k), np.tril(x, k))
    np.testing.assert_array_equal(ops.triu(x, k), np.triu(x, k))


def test_a_triangle_of_infinities_holds_zeros_not_nan():
    assert ops.tril(lc.tensor([[1.0, np.inf], [1.0, 1.0]])).tolist() == [[1, 0], [1, 1]]


@few
@given(st.data())
def test_pad_is_numpys_in_every_mode_and_its_gradient_is_the_adjoint(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    mode = data.draw(st.sampled_from(["constant", "reflect", "symmetric", "edge", "wrap"]))
    widths = [(data.draw(st.integers(0, 7)), data.draw(st.integers(0, 7))) for _ in shape]
    x = counting(shape) + 1
    t = lc.tensor(x, requires_grad=True)
    out = ops.pad(t, widths, mode)
    expected = np.pad(x, widths, mode=mode)
    np.testing.assert_array_equal(out.data, expected)
    g = np.random.default_rng(0).integers(1, 9, expected.shape).astype(float)
    out.backward(lc.tensor(g))
    source = np.pad(np.arange(x.size).reshape(shape) + 1, widths, mode=mode)  # where each element came from; 0: nowhere
    sums = np.bincount(source.reshape(-1), weights=g.reshape(-1), minlength=x.size + 1)[1:]
    np.testing.assert_array_equal(t.grad.data, sums.reshape(shape))


def test_pytorchs_names_of_pad_modes_mean_the_same():
    x = lc.tensor([1.0, 2.0, 3.0])
    assert ops.pad(x, 2, "circular").tolist() == ops.pad(x, 2, "wrap").tolist() == [2, 3, 1, 2, 3, 1, 2]
    assert ops.pad(x, (0, 2), "replicate").tolist() == [1, 2, 3, 3, 3]


def test_numpys_functions_reach_these():
    x = lc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert np.pad(x, 1, "edge").shape == (4, 4) and np.pad(x, 1, constant_values=7)[0, 0].item() == 7
    assert np.tile(x, 2).requires_grad and np.repeat(x, 2).shape == (8,) and np.roll(x, 1, axis=0)[0, 0].item() == 3
    assert (
        np.diagonal(x).tolist() == [1, 4] and np.tril(x).tolist() == [[1, 0], [3, 4]] and np.diag(x[0]).shape == (2, 2)
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: ops.chunk(x, 0), "chunk: expected at least one chunk, got 0"),
        (lambda x: ops.tile(x, -1), "tile: repetitions must be ints that are not negative"),
        (lambda x: ops.repeat(x, [1, 2, 3], axis=0), "repeat: expected a count or 2 counts for axis 0"),
        (lambda x: ops.repeat(x, -1), "none negative, got -1"),
        (ops.meshgrid, "meshgrid: expected 1-D arrays"),
        (lambda x: ops.meshgrid(x[0], indexing="yx"), "indexing must be 'xy' or 'ij'"),
        (lambda x: ops.roll(x, (1, 2), axis=0), "roll: 2 shifts for 1 axes"),
        (lambda x: ops.roll(x, (1, 2)), "shift must be an int when axis is None"),
        (lambda x: ops.tril(x[0]), "tril: expected at least two axes"),
        (lambda x: ops.diagonal(x, 0, 0, 0), "diagonal: axis .* names an axis twice"),
        (lambda x: ops.diag(lc.zeros((2, 2, 2))), "diag: expected a vector or a matrix"),
        (lambda x: ops.pad(x, [(1, 1)] * 3), "pad: expected 2 pairs of non-negative widths"),
        (lambda x: ops.pad(x, -1), "pad: expected 2 pairs of non-negative widths, got -1"),
        (lambda x: ops.pad(x, 1, "mirror"), "pad: mode must be one of constant, reflect"),
        (lambda x: ops.pad(x[:0], 1, "edge"), "cannot extend axis 0 of size 0"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ShapeError, match=words):
        call(lc.tensor(np.arange(6.0).reshape(2, 3)))
