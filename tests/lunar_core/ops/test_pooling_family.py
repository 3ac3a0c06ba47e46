"""Pools in one, two and three dimensions: layout, dtype, empty windows, places, and what is refused."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, IndexingError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck

SIZES = (7, 8, 6)


def last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


CALLS = {
    "max": lambda n, x: getattr(ops, f"max_pool{n}d")(x, 3, 2, 1),
    "max of tiles": lambda n, x: getattr(ops, f"max_pool{n}d")(x, 2),
    "avg": lambda n, x: getattr(ops, f"avg_pool{n}d")(x, 3, 2, 1, True),
    "lp": lambda n, x: getattr(ops, f"lp_pool{n}d")(x * x, 2, 3, 2),
    "adaptive avg": lambda n, x: getattr(ops, f"adaptive_avg_pool{n}d")(x, 4),
    "adaptive max": lambda n, x: getattr(ops, f"adaptive_max_pool{n}d")(x, 4),
    "unpool": lambda n, x: getattr(ops, f"max_unpool{n}d")(
        *getattr(ops, f"max_pool{n}d")(x, 2, return_indices=True), 2, output_size=SIZES[:n]
    ),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", CALLS)
def test_pools_and_their_gradients_keep_memory_order(name, n):
    x = np.random.default_rng(0).normal(size=(2, 5, *SIZES[:n]))
    for channels_last in (False, True):
        tensor = lc.Tensor(last(x) if channels_last else x, requires_grad=True)
        out = CALLS[name](n, tensor)
        (g,) = lc.grad(out, [tensor], [out.detach()])
        for result in (out.data, g.data):
            assert np.moveaxis(result, 1, -1).flags.c_contiguous == channels_last
            assert result.flags.c_contiguous != channels_last


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", CALLS)
def test_pools_and_their_gradients_keep_the_dtype(name, dtype):
    x = lc.Tensor(np.random.default_rng(0).normal(size=(2, 5, *SIZES[:2])).astype(dtype), requires_grad=True)
    out = CALLS[name](2, x)
    (g,) = lc.grad(out, [x], [out.detach()])
    assert out.dtype == g.dtype == dtype


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", CALLS)
def test_gradients_of_first_and_second_order_hold(name, n):
    count = 2 * int(
        np.prod(SIZES[:n])
    )  # the values of a window are far apart: differences must not change which one wins
    values = (np.random.default_rng(n).permutation(count) + 0.5) * (4 / count) - 2
    x = lc.Tensor(values.reshape(1, 2, *SIZES[:n]), requires_grad=True)
    assert gradcheck(lambda x: CALLS[name](n, x) ** 2, [x])
    assert gradgradcheck(lambda x: CALLS[name](n, x) ** 2, [x])


def test_max_unpool_puts_the_maxima_back():
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 8))
    values, places = ops.max_pool2d(x, 2, return_indices=True)
    back = ops.max_unpool2d(values, places, 2)
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    np.testing.assert_array_equal(ops.max_pool2d(np.where(back == 0, -9.0, back), 2), values)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), places.reshape(2, 3, -1), 2), values.reshape(2, 3, -1)
    )
    np.testing.assert_array_equal(ops.max_unpool2d(values, places, 2, output_size=x.shape), back)


def test_places_are_those_of_the_first_maximum_and_of_nan_in_adaptive_bins():
    x = np.zeros((1, 1, 4, 4))
    np.testing.assert_array_equal(ops.max_pool2d(x, 2, return_indices=True)[1][0, 0], [[0, 2], [8, 10]])
    np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, 2, return_indices=True)[1][0, 0], [[0, 2], [8, 10]])
    x = np.zeros((1, 1, 5, 4))
    x[0, 0, 1, 1] = np.nan
    assert np.isnan(ops.adaptive_max_pool2d(x, 2)[0, 0, 0, 0])
    assert ops.adaptive_max_pool2d(x, 2, return_indices=True)[1][0, 0, 0, 0] == 5


def test_a_window_of_zeros_has_gradient_zero_in_lp_pools():
    x = lc.Tensor(np.zeros((1, 1, 4)), requires_grad=True)
    out = ops.lp_pool1d(x, 2, 2)
    out.sum().backward()
    np.testing.assert_array_equal(out.data, 0)
    np.testing.assert_array_equal(x.grad.data, 0)


def test_pools_of_empty_batches_and_of_integers():
    assert ops.max_pool3d(np.zeros((0, 2, 4, 4, 4)), 2).shape == (0, 2, 2, 2, 2)
    assert ops.adaptive_avg_pool2d(np.zeros((0, 2, 5, 4)), 3).shape == (0, 2, 3, 3)
    assert ops.adaptive_max_pool1d(np.zeros((0, 2, 5)), 3).shape == (0, 2, 3)
    values, places = ops.max_pool1d(np.arange(6).reshape(1, 1, 6), 2, return_indices=True)
    assert (values.tolist(), places.tolist()) == ([[[1, 3, 5]]], [[[1, 3, 5]]])


def test_fold_is_the_adjoint_of_unfold_also_for_volumes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 2, 4, 5, 3))
    arguments = (2, 1, ((1, 0), (0, 1), (0, 0)), (1, 2, 1))
    columns = ops.unfold(x, *arguments)
    y = rng.normal(size=columns.shape)
    np.testing.assert_allclose((columns * y).sum(), (x * ops.fold(y, x.shape[2:], *arguments)).sum(), rtol=1e-12)


def test_a_product_with_unfolded_images_is_a_convolution():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(4, 3, 3, 2))
    out = (w.reshape(4, -1) @ ops.unfold(x, (3, 2), padding=1, stride=2)).reshape(2, 4, 3, 4)
    np.testing.assert_allclose(out, ops.conv2d(x, w, padding=1, stride=2), rtol=1e-10)


X = np.ones((2, 3, 6))
I = np.zeros((2, 3, 6), int)
ERRORS = {
    "max rank": (lambda: ops.max_pool2d(X, 2), ShapeError, r"max_pool2d expects images of shape \(N, C, H, W\)"),
    "max list": (lambda: ops.max_pool1d([1.0], 2), DTypeError, "max_pool1d: expected a tensor or an array, got list"),
    "max kernel": (lambda: ops.max_pool1d(X, 7), ShapeError, r"max_pool1d: kernel \(7,\) is larger"),
    "max pair": (lambda: ops.max_pool1d(X, (2, 2)), ShapeError, "max_pool1d: kernel must be an int at least 1"),
    "max padding": (lambda: ops.max_pool1d(X, 2, padding=2), ShapeError, "at most half of the kernel"),
    "max stride": (lambda: ops.max_pool1d(X, 2, 0), ShapeError, "stride must be an int at least 1, got 0"),
    "avg rank": (lambda: ops.avg_pool3d(X, 2), ShapeError, r"avg_pool3d expects volumes of shape \(N, C, D, H, W\)"),
    "avg divisor": (
        lambda: ops.avg_pool2d(X[..., None], (2, 1), divisor_override=0),
        ShapeError,
        "divisor_override must be an int other than 0",
    ),
    "lp exponent": (lambda: ops.lp_pool1d(X, 0, 2), ShapeError, "exponent must be a finite number above 0, got 0"),
    "lp kernel": (lambda: ops.lp_pool1d(X, 2, 9), ShapeError, r"lp_pool1d: kernel \(9,\) is larger"),
    "adaptive zero": (lambda: ops.adaptive_avg_pool1d(X, 0), ShapeError, "adaptive_avg_pool1d: output_size must be"),
    "adaptive pair": (lambda: ops.adaptive_max_pool1d(X, (1, 2)), ShapeError, "adaptive_max_pool1d: output_size"),
    "adaptive empty": (lambda: ops.adaptive_max_pool1d(X[..., :0], 2), ShapeError, "have no pixels"),
    "adaptive rank": (lambda: ops.adaptive_avg_pool2d(X, 1), ShapeError, "adaptive_avg_pool2d expects images"),
    "unpool shape": (lambda: ops.max_unpool1d(X, I[:1], 2), ShapeError, "indices must have the shape of the images"),
    "unpool floats": (lambda: ops.max_unpool1d(X, X, 2), DTypeError, "max_unpool1d"),
    "unpool size": (lambda: ops.max_unpool1d(X, I, 2, output_size=20), ShapeError, "differ by less than the stride"),
    "unpool place": (lambda: ops.max_unpool1d(X, I + 12, 2), IndexingError, "max_unpool1d: an index lies outside"),
    "unfold rank": (lambda: ops.unfold(X[0], 2), ShapeError, "unfold expects images"),
    "unfold kernel": (lambda: ops.unfold(X, 9), ShapeError, r"unfold: kernel \(9, 9\) is larger"),
    "fold rank": (lambda: ops.fold(X[0, 0], 2, 2), ShapeError, "fold expects columns"),
    "fold windows": (lambda: ops.fold(X[:, :2], 4, 2), ShapeError, r"columns must have shape \(N, C \* 4, 9\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_named(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("error")  # an op without a batching rule would warn
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", CALLS)
def test_vmap_computes_all_examples_at_once(name, n):
    x = lc.Tensor(np.random.default_rng(0).normal(size=(3, 2, 4, *SIZES[:n])))
    together = lc.vmap(lambda t: CALLS[name](n, t))(x)
    one_by_one = [CALLS[name](n, x.data[i]) for i in range(3)]
    np.testing.assert_allclose(together.data, np.stack(one_by_one), rtol=1e-12)
