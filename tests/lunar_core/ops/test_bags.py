"""embedding_bag: orders of differentiation, empty bags, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradients_of_both_orders(mode):
    rng = np.random.default_rng(0)
    weight = lc.Tensor(rng.normal(size=(6, 3)), requires_grad=True)
    indices, offsets = np.array([1, 1, 5, 0, 2, 4, 4]), np.array([0, 3, 3, 5])
    tensors = [weight]
    if mode == "sum":
        tensors.append(lc.Tensor(rng.normal(size=7), requires_grad=True))

    def function(weight, *scale):
        return ops.embedding_bag(indices, weight, offsets, mode, *scale, padding_idx=5)

    assert gradcheck(function, tensors)
    assert gradgradcheck(lambda *a: ops.tanh(function(*a)), tensors)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_an_empty_bag_gives_zeros(mode):
    weight = np.random.default_rng(0).normal(size=(4, 2))
    y = ops.embedding_bag(np.array([1, 2]), weight, np.array([0, 0, 2]), mode)
    np.testing.assert_array_equal(y[[0, 2]], 0)
    np.testing.assert_array_equal(ops.embedding_bag(np.empty(0, int), weight, np.array([0]), mode), np.zeros((1, 2)))
    padded = ops.embedding_bag(np.array([[3, 3], [1, 3]]), weight, mode=mode, padding_idx=3)
    np.testing.assert_allclose(padded, [[0, 0], weight[1]])


def test_raw_arrays_and_tensors_agree():
    weight = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    indices = np.array([[0, 1, 1], [3, 2, 0]])
    for mode in ("sum", "mean", "max"):
        raw = ops.embedding_bag(indices, weight, mode=mode)
        assert raw.dtype == np.float32
        np.testing.assert_array_equal(ops.embedding_bag(lc.Tensor(indices), lc.Tensor(weight), mode=mode).numpy(), raw)


def test_what_does_not_fit_is_named():
    weight, indices, offsets = np.ones((4, 2)), np.array([1, 2, 3]), np.array([0, 2])
    with pytest.raises(HyperparameterError, match="mode must be one of sum, mean, max, got 'min'"):
        ops.embedding_bag(indices, weight, offsets, "min")
    with pytest.raises(DTypeError, match="indices must be integers, got float64"):
        ops.embedding_bag(indices * 1.0, weight, offsets)
    with pytest.raises(
        ShapeError, match=r"expects indices \(B, L\), or indices \(K\) with offsets \(B\), got \(3,\) and None"
    ):
        ops.embedding_bag(indices, weight)
    with pytest.raises(ShapeError, match="take no offsets"):
        ops.embedding_bag(indices[None], weight, offsets)
    with pytest.raises(IndexingError, match=r"offsets must rise from 0 to at most the 3 indices, got \[1, 2\]"):
        ops.embedding_bag(indices, weight, np.array([1, 2]))
    with pytest.raises(IndexingError, match=r"got \[0, 9\]"):
        ops.embedding_bag(indices, weight, np.array([0, 9]))
    with pytest.raises(HyperparameterError, match="per_sample_weights go with mode 'sum', not 'mean'"):
        ops.embedding_bag(indices, weight, offsets, per_sample_weights=np.ones(3))
    with pytest.raises(ShapeError, match=r"per_sample_weights must have the shape \(3,\)"):
        ops.embedding_bag(indices, weight, offsets, "sum", np.ones(2))
    with pytest.raises(IndexingError, match="padding_idx 4 is out of range for 4 rows"):
        ops.embedding_bag(indices, weight, offsets, padding_idx=4)
    with pytest.raises(IndexingError, match="index 3 is out of range for a table of 2 rows"):
        ops.embedding_bag(indices, weight[:2], offsets)
    with pytest.raises(ShapeError, match=r"weight must have shape \(rows, width\)"):
        ops.embedding_bag(indices, weight[0], offsets)
    with pytest.raises(DTypeError, match="a table of real floating numbers"):
        ops.embedding_bag(indices, weight.astype(int), offsets)
