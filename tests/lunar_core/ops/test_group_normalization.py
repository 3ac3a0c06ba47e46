"""group_norm, instance_norm and rms_norm: orders of differentiation, layout, precision, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


@pytest.mark.parametrize("needed", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_group_norm_has_first_and_second_gradients(needed):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 4, 3)), rng.normal(1, 0.3, 4), rng.normal(size=4)]
    tensors = [lc.Tensor(a, requires_grad=i in needed) for i, a in enumerate(arrays)]
    assert gradcheck(lambda x, w, b: ops.group_norm(x, 2, w, b), tensors)
    assert gradgradcheck(lambda x, w, b: ops.tanh(ops.group_norm(x, 2, w, b)), tensors)


def test_the_gradient_keeps_channels_last_memory_too():
    x = np.moveaxis(np.random.default_rng(0).normal(size=(2, 3, 4, 6)), -1, 1)
    t = lc.Tensor(x, requires_grad=True)
    y = ops.group_norm(t, 3)
    (g,) = lc.grad(y, t, lc.Tensor(np.ones(x.shape)))
    assert np.moveaxis(g.numpy(), 1, -1).flags.c_contiguous


def test_the_input_is_not_changed_and_the_groups_are_normal():
    x = np.random.default_rng(0).normal(3, 2, (2, 6, 5, 5))
    before = x.copy()
    y = ops.group_norm(x, 3).reshape(2, 3, -1)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(y.mean(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=2), 1, rtol=1e-4)


def test_one_group_for_each_channel_is_instance_norm():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    np.testing.assert_array_equal(ops.instance_norm(x), ops.group_norm(x, 3))


def test_half_precision_keeps_its_dtype():
    x = np.random.default_rng(0).normal(size=(2, 4, 8, 8))
    for function in (lambda a: ops.group_norm(a, 2), ops.instance_norm, ops.rms_norm):
        t = lc.Tensor(x.astype(np.float16), requires_grad=True)
        y = function(t)
        (y * y * y).sum().backward()
        assert y.dtype == t.grad.dtype == np.float16
        np.testing.assert_allclose(y.detach().numpy(), function(x.astype(np.float32)), atol=3e-3)


def test_a_large_mean_does_not_spoil_single_precision():
    x = (np.random.default_rng(0).normal(size=(2, 4, 32, 32)) + 1000).astype(np.float32)
    y = ops.group_norm(x, 2).reshape(2, 2, -1)
    np.testing.assert_allclose(y.std(axis=2), 1, rtol=1e-3)


def test_what_does_not_fit_is_named():
    x = np.ones((2, 4, 3))
    with pytest.raises(ShapeError, match=r"group_norm: groups=3 must divide the 4 channels of \(2, 4, 3\)"):
        ops.group_norm(x, 3)
    with pytest.raises(ShapeError, match=r"group_norm: weight must have shape \(4,\), one number for each channel"):
        ops.group_norm(x, 2, np.ones(3))
    with pytest.raises(ShapeError, match=r"group_norm expects inputs of shape \(N, C, ...\), got \(4,\)"):
        ops.group_norm(x[0, :, 0], 2)
    with pytest.raises(ShapeError, match=r"no elements to take statistics of in \(2, 4, 0\)"):
        ops.group_norm(x[..., :0], 2)
    with pytest.raises(DTypeError, match="group_norm expects real floating inputs, got int64"):
        ops.group_norm(x.astype(int), 2)
    with pytest.raises(ShapeError, match="a channel needs more than one pixel"):
        ops.instance_norm(x[..., :1])
    with pytest.raises(ShapeError, match=r"rms_norm: weight must have the shape \(3,\)"):
        ops.rms_norm(x, np.ones(4))
    with pytest.raises(ShapeError, match="rms_norm: 4 trailing axes"):
        ops.rms_norm(x, axes=4)
    with pytest.raises(ShapeError, match="nothing to normalise over"):
        ops.rms_norm(x[..., :0])
    with pytest.raises(HyperparameterError, match="eps must not be negative"):
        ops.rms_norm(x, eps=-1.0)
    with pytest.raises(DTypeError, match="rms_norm expects real floating inputs"):
        ops.rms_norm(x.astype(int))
