"""layer_norm against its formula, over one and several trailing axes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(0, 2), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_layer_norm_follows_its_formula(axes, leading, with_weight, with_bias, transposed, seed):
    rng = np.random.default_rng(seed)
    shape = (3, 2)[:leading] + (4, 3, 5)[:axes]
    x = rng.normal(2, 3, shape[::-1]).T if transposed else rng.normal(2, 3, shape)
    w = rng.normal(size=shape[leading:]) if with_weight else None
    b = rng.normal(size=shape[leading:]) if with_bias else None
    trailing = tuple(range(leading, x.ndim))
    mean, var = x.mean(axis=trailing, keepdims=True), x.var(axis=trailing, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * (1 if w is None else w) + (0 if b is None else b)
    before = x.copy()
    np.testing.assert_allclose(ops.layer_norm(x, w, b, axes=axes), expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("needed", [(0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape, axes", [((4, 5), 1), ((2, 3, 4), 2), ((6,), 1)])
def test_layer_norm_has_first_and_second_gradients(shape, axes, needed):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape), rng.normal(1, 0.3, shape[-axes:]), rng.normal(size=shape[-axes:])]
    tensors = [lc.Tensor(a, requires_grad=i in needed) for i, a in enumerate(arrays)]
    assert gradcheck(ops.layer_norm, tensors)
    assert gradgradcheck(lambda *xs: ops.tanh(ops.layer_norm(*xs)), tensors)


def test_axes_default_to_those_of_the_weight():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    both = ops.layer_norm(x, axes=2)
    np.testing.assert_allclose(both.mean(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_array_equal(ops.layer_norm(x, np.ones((3, 4))), both)
    np.testing.assert_array_equal(ops.layer_norm(x, None, np.zeros((3, 4))), both)
    np.testing.assert_allclose(ops.layer_norm(x).mean(axis=2), 0, atol=1e-12)


def test_precision_stays_what_it_was():
    for dtype in (np.float16, np.float32, np.float64):
        x = lc.Tensor(np.random.default_rng(0).normal(size=(4, 64)).astype(dtype), requires_grad=True)
        y = ops.layer_norm(x, np.ones(64, np.float32 if dtype == np.float16 else dtype))
        assert y.dtype == dtype
        (y * y * y).sum().backward()
        assert x.grad.dtype == dtype
    x = (np.random.default_rng(0).normal(size=(4, 9000)) + 1000).astype(np.float32)
    np.testing.assert_allclose(ops.layer_norm(x).std(axis=1), 1, rtol=1e-3)


def test_what_does_not_fit_is_named():
    x = np.ones((2, 3, 4))
    with pytest.raises(ShapeError, match=r"layer_norm: weight must have the shape \(4,\) of the last axes"):
        ops.layer_norm(x, np.ones(3))
    with pytest.raises(ShapeError, match=r"layer_norm: bias must have the shape \(3, 4\)"):
        ops.layer_norm(x, np.ones((3, 4)), np.ones(4))
    with pytest.raises(ShapeError, match="4 trailing axes of an input of shape"):
        ops.layer_norm(x, axes=4)
    with pytest.raises(ShapeError, match="nothing to normalise over"):
        ops.layer_norm(np.ones((2, 0)))
    with pytest.raises(DTypeError, match="real floating inputs, got int64"):
        ops.layer_norm(np.ones((2, 3), np.int64))
