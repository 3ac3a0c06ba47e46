"""batch_norm, its inference form and channel_affine against their formulas, in every memory order and precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


def laid(x, last):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x


def column(v, ndim):
    return v.reshape((1, -1) + (1,) * (ndim - 2))


shapes = st.sampled_from([(6, 3), (4, 5, 7), (3, 4, 5, 6), (2, 3, 4, 2, 3), (40, 5, 30, 20)])


@settings(max_examples=40, deadline=None)
@given(shapes, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_batch_norm_follows_its_formula(shape, last, with_weight, with_bias, seed):
    rng = np.random.default_rng(seed)
    x = laid(rng.normal(3, 2, shape), last)
    w = rng.normal(size=shape[1]) if with_weight else None
    b = rng.normal(size=shape[1]) if with_bias else None
    axes = (0, *range(2, x.ndim))
    before = x.copy()
    y, mean, var = ops.batch_norm(x, w, b, eps=1e-3)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(mean, x.mean(axis=axes), rtol=1e-10)
    np.testing.assert_allclose(var, x.var(axis=axes), rtol=1e-9)
    expected = (x - column(x.mean(axis=axes), x.ndim)) / np.sqrt(column(x.var(axis=axes), x.ndim) + 1e-3)
    expected = expected * (1 if w is None else column(w, x.ndim)) + (0 if b is None else column(b, x.ndim))
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-10)
    if x.ndim > 2:
        assert np.moveaxis(y, 1, -1).flags.c_contiguous == last and y.flags.c_contiguous != last
    inference = ops.batch_norm_inference(x, mean, var, w, b, eps=1e-3)
    np.testing.assert_allclose(inference, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 4), (2, 3, 3, 2)])
def test_batch_norm_has_first_and_second_gradients_through_all_three_results(shape, last):
    rng = np.random.default_rng(0)
    x = lc.Tensor(laid(rng.normal(size=shape), last), requires_grad=True)
    w = lc.Tensor(rng.normal(1, 0.2, shape[1]), requires_grad=True)
    b = lc.Tensor(rng.normal(size=shape[1]), requires_grad=True)
    assert gradcheck(lambda x, w, b: ops.batch_norm(x, w, b, eps=0.01), [x, w, b])
    assert gradcheck(lambda x, w, b: ops.batch_norm(x, w, b, eps=0.01)[1:], [x, w, b])
    assert gradgradcheck(lambda x, w, b: ops.tanh(ops.batch_norm(x, w, b, eps=0.01)[0]), [x, w, b])


def test_the_mean_and_spread_of_large_offsets_survive_float32():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(64, 4, 32, 32)) + 1000).astype(np.float32)
    for last in (False, True):
        y, mean, var = ops.batch_norm(laid(x, last))
        np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(var, x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-3)
        assert {y.dtype, mean.dtype, var.dtype} == {np.dtype(np.float32)}


def test_half_precision_has_statistics_in_float32_and_results_in_half():
    x = lc.Tensor(np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype(np.float16), requires_grad=True)
    y, mean, var = ops.batch_norm(x)
    assert (y.dtype, mean.dtype, var.dtype) == (np.float16, np.float32, np.float32)
    (y * y * y).sum().backward()
    assert x.grad.dtype == np.float16


def test_batch_norm_of_one_value_a_channel_is_its_bias():
    y, _, var = ops.batch_norm(np.array([[2.0, -3.0]]), np.ones(2), np.array([0.5, 1.5]))
    np.testing.assert_array_equal(y, [[0.5, 1.5]])
    np.testing.assert_array_equal(var, [0, 0])


@pytest.mark.parametrize("last", [False, True])
def test_batch_norm_inference_has_gradients_in_all_five_inputs(last):
    rng = np.random.default_rng(0)
    inputs = [
        laid(rng.normal(size=(2, 3, 2, 3)), last),
        rng.normal(size=3),
        rng.uniform(0.5, 2, 3),
        *rng.normal(size=(2, 3)),
    ]
    tensors = [lc.Tensor(a, requires_grad=True) for a in inputs]
    assert gradcheck(ops.batch_norm_inference, tensors)
    assert gradgradcheck(ops.batch_norm_inference, tensors)


def test_what_does_not_fit_is_named():
    x = np.ones((2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r"batch_norm: weight must have shape \(3,\), one number for each channel"):
        ops.batch_norm(x, np.ones(4))
    with pytest.raises(ShapeError, match="batch_norm: bias must have shape"):
        ops.batch_norm(x, np.ones(3), np.ones((3, 1)))
    with pytest.raises(ShapeError, match=r"batch_norm expects inputs of shape \(N, C, ...\), got \(3,\)"):
        ops.batch_norm(np.ones(3))
    with pytest.raises(ShapeError, match="no elements to take statistics of"):
        ops.batch_norm(np.ones((0, 3)))
    with pytest.raises(DTypeError, match="real floating inputs, got int64"):
        ops.batch_norm(np.ones((2, 3), np.int64))
    with pytest.raises(ShapeError, match="batch_norm_inference: var must have shape"):
        ops.batch_norm_inference(x, np.ones(3), np.ones(2))
