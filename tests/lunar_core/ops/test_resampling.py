"""interpolate: orders of differentiation, layouts, identity, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [(5, 7), (2, 2), (3, 4)], ids=["larger", "smaller", "same"])
def test_gradients_of_both_orders(mode, size):
    x = lc.Tensor(np.random.default_rng(0).normal(size=(2, 2, 3, 4)), requires_grad=True)
    assert gradcheck(lambda x: ops.interpolate(x, size, mode=mode), [x])
    assert gradgradcheck(lambda x: ops.tanh(ops.interpolate(x, size, mode=mode)), [x])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_the_same_size_is_the_same_image(mode):
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    np.testing.assert_allclose(ops.interpolate(x, (3, 4), mode=mode), x, rtol=1e-14)


def test_integers_are_resized_by_their_nearest_neighbour():
    x = np.arange(4).reshape(1, 1, 2, 2)
    y = ops.interpolate(x, scale_factor=2)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])


def test_a_pixel_that_is_not_finite_stays_among_its_neighbours():
    x = np.ones((1, 1, 8))
    x[0, 0, 2] = np.inf
    y = ops.interpolate(x, 16, mode="linear")
    assert np.isfinite(y[0, 0, 8:]).all() and (y[0, 0, 8:] == 1).all()


def test_half_precision_is_summed_in_single():
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(np.float16)
    y = ops.interpolate(x, (9, 9), mode="bicubic")
    assert y.dtype == np.float16
    exact = ops.interpolate(x.astype(np.float32), (9, 9), mode="bicubic")
    np.testing.assert_allclose(y, exact, rtol=2e-3, atol=1e-3)


def test_what_does_not_fit_is_named():
    x = np.ones((1, 2, 3, 4))
    with pytest.raises(HyperparameterError, match="mode must be one of nearest, .* got 'cubic'"):
        ops.interpolate(x, 2, mode="cubic")
    with pytest.raises(ShapeError, match="mode 'linear' does not fit the 2 pixel axes") as caught:
        ops.interpolate(x, 2, mode="linear")
    assert "mode='bilinear'" in str(caught.value)
    with pytest.raises(HyperparameterError, match="give either size or scale_factor"):
        ops.interpolate(x)
    with pytest.raises(HyperparameterError, match="give either size or scale_factor"):
        ops.interpolate(x, 2, 2)
    with pytest.raises(ShapeError, match=r"size \(1, 2, 3\) has 3 numbers for the 2 pixel axes"):
        ops.interpolate(x, (1, 2, 3))
    with pytest.raises(HyperparameterError, match="size must hold positive ints, got 0"):
        ops.interpolate(x, 0)
    with pytest.raises(HyperparameterError, match="scale_factor must be positive, got -1"):
        ops.interpolate(x, scale_factor=-1)
    with pytest.raises(ShapeError, match="scale_factor 0.1 leaves nothing"):
        ops.interpolate(x, scale_factor=0.1)
    with pytest.raises(DTypeError, match="mode 'bilinear' expects real floating inputs, got int64"):
        ops.interpolate(x.astype(int), 2, mode="bilinear")
    with pytest.raises(HyperparameterError, match="align_corners has no meaning for mode 'nearest'"):
        ops.interpolate(x, 2, align_corners=True)
    with pytest.raises(ShapeError, match="with 1 to 3 pixel axes"):
        ops.interpolate(x[0, 0], 2)
    with pytest.raises(ShapeError, match="no pixels in"):
        ops.interpolate(x[..., :0], 2)
