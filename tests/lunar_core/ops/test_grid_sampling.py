"""grid_sample and affine_grid: orders of differentiation, identity, devices, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_of_both_orders(mode, padding):
    rng = np.random.default_rng(0)
    x = lc.Tensor(rng.normal(size=(2, 2, 4, 5)), requires_grad=True)
    grid = lc.Tensor(rng.uniform(-1.3, 1.3, (2, 2, 3, 2)), requires_grad=True)
    assert gradcheck(lambda *a: ops.grid_sample(*a, mode, padding), [x, grid])
    assert gradgradcheck(lambda *a: ops.grid_sample(*a, mode, padding), [x, grid])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("align", [False, True], ids=["edges", "centres"])
def test_the_identity_map_reads_the_image_itself(mode, align):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    theta = np.broadcast_to(np.eye(2, 3), (2, 2, 3))
    grid = ops.affine_grid(theta, x.shape, align)
    np.testing.assert_allclose(ops.grid_sample(x, grid, mode, "border", align), x, rtol=1e-12, atol=1e-12)


def test_places_outside_and_nan_read_zero():
    x = np.full((1, 1, 3, 3), np.inf)
    x[0, 0, 1, 1] = 2.0
    grid = np.array([[[[9.0, 9.0], [np.nan, 0.0], [0.0, 0.0]]]])
    with np.errstate(invalid="ignore"):
        y = ops.grid_sample(x, grid, "nearest")
    np.testing.assert_array_equal(y[0, 0, 0], [0, 0, 2])


def test_sampling_runs_on_a_device():
    rng = np.random.default_rng(0)
    x, grid = rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.3, 1.3, (2, 2, 3, 2))
    expected = ops.grid_sample(x, grid, "bicubic", "reflection")
    with fake_device() as device:
        tensors = [lc.Tensor(FakeArray(a.copy()), requires_grad=True) for a in (x, grid)]
        y = ops.grid_sample(*tensors, "bicubic", "reflection")
        y.sum().backward()
        assert device.synchronizations == 0
        np.testing.assert_allclose(y.data._a, expected, rtol=1e-12, atol=1e-12)
        assert all(isinstance(t.grad.data, FakeArray) for t in tensors)


def test_what_does_not_fit_is_named():
    x, grid = np.ones((2, 3, 4, 5)), np.ones((2, 6, 7, 2))
    with pytest.raises(ShapeError, match=r"grid_sample expects x \(N, C, H, W\) with grid"):
        ops.grid_sample(x, grid[..., :1])
    with pytest.raises(ShapeError, match=r"got \(2, 3, 4, 5\) and \(1, 6, 7, 2\)"):
        ops.grid_sample(x, grid[:1])
    with pytest.raises(HyperparameterError, match="mode must be one of bilinear, nearest, bicubic"):
        ops.grid_sample(x, grid, "linear")
    with pytest.raises(HyperparameterError, match="padding_mode one of zeros, border, reflection"):
        ops.grid_sample(x, grid, padding_mode="edge")
    with pytest.raises(HyperparameterError, match="'bicubic' is for images"):
        ops.grid_sample(np.ones((1, 1, 2, 2, 2)), np.ones((1, 2, 2, 2, 3)), "bicubic")
    with pytest.raises(DTypeError, match="x is int64"):
        ops.grid_sample(x.astype(int), grid)
    with pytest.raises(ShapeError, match=r"affine_grid expects theta \(N, 2, 3\)"):
        ops.affine_grid(np.ones((2, 2, 2)), (2, 3, 4, 5))
