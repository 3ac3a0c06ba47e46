"""Pooling against its definition: every geometry and memory order, ties, padding, and where gradients go."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ShapeError
from lunar_core.testing import gradgradcheck


def laid(x, order):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if order == "NHWC" else x


def windows(shape, kernel, stride, padding, dilation, ceil_mode):
    """For each output pixel, the coordinates of its taps that lie inside, and how many of the padded image it has."""
    counts = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation):
        room = n + 2 * p - (k - 1) * d - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        counts.append(count - 1 if ceil_mode and (count - 1) * s >= n + p else count)
    for i, j in itertools.product(*map(range, counts)):
        rows = [i * stride[0] - padding[0] + a * dilation[0] for a in range(kernel[0])]
        cols = [j * stride[1] - padding[1] + b * dilation[1] for b in range(kernel[1])]
        inside = [(r, c) for r in rows for c in cols if 0 <= r < shape[0] and 0 <= c < shape[1]]
        padded = sum(r < shape[0] + padding[0] for r in rows) * sum(c < shape[1] + padding[1] for c in cols)
        yield i, j, inside, padded, tuple(counts)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=150, deadline=None)
@given(
    pairs, st.none() | pairs, st.tuples(st.integers(0, 1), st.integers(0, 1)), pairs, st.booleans(),
    st.tuples(st.integers(1, 8), st.integers(1, 8)), st.sampled_from(["NCHW", "NHWC"]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_max_pooling_and_its_gradient_follow_the_definition(
    kernel, stride, padding, dilation, ceil_mode, size, order, ties, seed
):
    rng = np.random.default_rng(seed)
    if any(2 * p > k or (k - 1) * d + 1 > n + 2 * p for k, p, d, n in zip(kernel, padding, dilation, size)):
        return
    x = rng.integers(0, 3, (2, 3, *size)).astype(float) if ties else rng.normal(size=(2, 3, *size))
    plan = list(windows(size, kernel, stride or kernel, padding, dilation, ceil_mode))
    expected, gradient = np.zeros((2, 3, *plan[0][4])), np.zeros(x.shape)
    g = rng.normal(size=expected.shape)
    for i, j, inside, _, _ in plan:
        if not inside:  # a dilated window whose taps all fall into the padding
            expected[:, :, i, j] = -np.inf
            continue
        values = np.stack([x[:, :, r, c] for r, c in inside])
        expected[:, :, i, j] = values.max(axis=0)
        first = values.argmax(axis=0)
        for n, c in np.ndindex(2, 3):
            gradient[(n, c, *inside[first[n, c]])] += g[n, c, i, j]
    arguments = (kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(ops.max_pool2d(laid(x, order), *arguments), expected)
    tensor = lc.Tensor(laid(x, order), requires_grad=True)
    out = ops.max_pool2d(tensor, *arguments)
    np.testing.assert_array_equal(out.data, expected)
    out.backward(lc.Tensor(laid(g, order)))
    np.testing.assert_allclose(tensor.grad.data, gradient, atol=1e-14)


@settings(max_examples=150, deadline=None)
@given(
    pairs, st.none() | pairs, st.tuples(st.integers(0, 1), st.integers(0, 1)), st.booleans(), st.booleans(),
    st.tuples(st.integers(1, 8), st.integers(1, 8)), st.sampled_from(["NCHW", "NHWC"]), st.integers(0, 99),
)  # fmt: skip
def test_average_pooling_and_its_gradient_follow_the_definition(
    kernel, stride, padding, ceil_mode, include, size, order, seed
):
    rng = np.random.default_rng(seed)
    if any(2 * p > k or k > n + 2 * p for k, p, n in zip(kernel, padding, size)):
        return
    x = rng.normal(size=(2, 3, *size))
    plan = list(windows(size, kernel, stride or kernel, padding, (1, 1), ceil_mode))
    expected, gradient = np.zeros((2, 3, *plan[0][4])), np.zeros(x.shape)
    g = rng.normal(size=expected.shape)
    for i, j, inside, padded, _ in plan:
        share = 1 / (padded if include else len(inside))
        for r, c in inside:
            expected[:, :, i, j] += x[:, :, r, c] * share
            gradient[:, :, r, c] += g[:, :, i, j] * share
    tensor = lc.Tensor(laid(x, order), requires_grad=True)
    out = ops.avg_pool2d(tensor, kernel, stride, padding, ceil_mode, include)
    np.testing.assert_allclose(out.data, expected, rtol=1e-12, atol=1e-12)
    out.backward(lc.Tensor(laid(g, order)))
    np.testing.assert_allclose(tensor.grad.data, gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [3, 80])
@pytest.mark.parametrize("size", [(16, 24), (17, 25)])
@pytest.mark.parametrize("kernel", [2, 3])
def test_large_side_by_side_windows_agree_with_the_general_path(order, channels, size, kernel):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, channels, *size)).astype(np.float32)
    oh, ow = size[0] // kernel, size[1] // kernel
    tiles = x[:, :, : oh * kernel, : ow * kernel].reshape(4, channels, oh, kernel, ow, kernel)
    expected = tiles.max(axis=(3, 5))
    tensor = lc.Tensor(laid(x, order), requires_grad=True)
    out = ops.max_pool2d(tensor, kernel)
    np.testing.assert_array_equal(out.data, expected)
    np.testing.assert_array_equal(ops.max_pool2d(tensor.detach(), kernel).data, expected)
    g = rng.normal(size=out.shape).astype(np.float32)
    out.backward(lc.Tensor(g))
    hit = (tiles == expected[:, :, :, None, :, None]) * g[:, :, :, None, :, None]
    gradient = np.zeros_like(x)
    gradient[:, :, : oh * kernel, : ow * kernel] = hit.reshape(4, channels, oh * kernel, ow * kernel)
    np.testing.assert_array_equal(tensor.grad.data, gradient)


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), (2, 2, 0)])
def test_pools_keep_memory_order_and_dtype(pool, arguments):
    x = np.random.default_rng(0).normal(size=(2, 5, 9, 8)).astype(np.float32)
    for order in ("NCHW", "NHWC"):
        tensor = lc.Tensor(laid(x, order), requires_grad=True)
        out = pool(tensor, *arguments)
        assert out.dtype == np.float32
        last = out.data.transpose(0, 2, 3, 1).flags.c_contiguous
        assert last == (order == "NHWC") and out.data.flags.c_contiguous != last
        assert pool(tensor.detach(), *arguments).data.flags.c_contiguous != last


def test_the_position_is_kept_as_bytes_and_counts_along_rows():
    x = np.array([[[[1.0, 5.0, 0.0], [7.0, 2.0, 0.0], [3.0, 4.0, 9.0]]]])
    values, index = ops.max_pool2d_with_index(
        x, kernel=(3, 3), stride=(3, 3), padding=(0, 0), dilation=(1, 1), counts=(1, 1)
    )
    assert (values.item(), index.item(), index.dtype) == (9.0, 8, np.uint8)
    _, index = ops.max_pool2d_with_index(
        np.zeros((1, 1, 20, 20)), kernel=(20, 20), stride=(1, 1), padding=(0, 0), dilation=(1, 1), counts=(1, 1)
    )
    assert index.dtype == np.uint16


def test_at_ties_the_first_pixel_in_row_order_gets_the_gradient():
    x = lc.Tensor(np.array([[[[0.0, 1.0], [1.0, 1.0]]]]), requires_grad=True)
    ops.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[[[0, 1], [0, 0]]]])


def test_padding_never_wins_and_minus_infinity_still_has_a_gradient():
    x = lc.Tensor(np.full((1, 1, 4, 4), -np.inf), requires_grad=True)
    out = ops.max_pool2d(x, 3, 2, 1)
    assert (out.data == -np.inf).all()
    out.backward(lc.Tensor(np.ones(out.shape)))
    assert x.grad.data.sum() == out.size
    assert ops.max_pool2d(np.full((1, 1, 2, 2), -5.0), 2, 1, 1).max() == -5.0


def test_nan_wins_a_window():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    out = ops.max_pool2d(x, 2)
    assert np.isnan(out[0, 0, 0, 0]) and not np.isnan(out).sum() > 1
    assert np.isnan(ops.max_pool2d(lc.Tensor(x, requires_grad=True), 2).data[0, 0, 0, 0])


def test_integers_are_pooled_too():
    x = np.arange(16).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(ops.max_pool2d(x, 2)[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(ops.max_pool2d(-x, 3, 1, 1)[0, 0, 0], [0, 0, -1, -2])


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_a_kernel_of_the_size_of_the_images_is_the_global_mean(order):
    x = np.random.default_rng(0).normal(size=(3, 5, 6, 7)).astype(np.float32)
    tensor = lc.Tensor(laid(x, order), requires_grad=True)
    out = ops.avg_pool2d(tensor, (6, 7))
    np.testing.assert_allclose(out.data, x.mean(axis=(2, 3), keepdims=True), rtol=1e-5)
    assert out.dtype == np.float32
    out.sum().backward()
    np.testing.assert_allclose(tensor.grad.data, 1 / 42, rtol=1e-6)


def test_gradients_of_gradients_hold_through_pools():
    x = lc.Tensor(np.random.default_rng(0).normal(size=(2, 2, 6, 6)), requires_grad=True)
    assert gradgradcheck(lambda x: ops.max_pool2d(ops.exp(x), 3, 2, 1) ** 2, [x])
    assert gradgradcheck(lambda x: ops.avg_pool2d(ops.exp(x), 3, 2, 1) ** 2, [x])


@pytest.mark.parametrize("pool, name", [(ops.max_pool2d, "max_pool2d"), (ops.avg_pool2d, "avg_pool2d")])
def test_what_does_not_fit_is_named(pool, name):
    x = np.ones((1, 2, 4, 5))
    with pytest.raises(ShapeError, match=rf"{name} expects images of shape \(N, C, H, W\)"):
        pool(x[0], 2)
    with pytest.raises(ShapeError, match=rf"{name}: kernel \(5, 5\) is larger than the padded input"):
        pool(x, 5)
    with pytest.raises(ShapeError, match=r"padding \(2, 2\) must be at most half of the kernel \(2, 2\)"):
        pool(x, 2, padding=2)
    with pytest.raises(ShapeError, match="kernel must be an int or a pair of ints, each at least 1"):
        pool(x, 0)
    assert pool(x, [2, 2], stride=[1, 2]).shape == (1, 2, 3, 2)
