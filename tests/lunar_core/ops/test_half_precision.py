"""Reductions of half precision accumulate in float32: their results are those of float64, rounded once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.ops.common import wide
from lunar_core.testing.fake_device import fake_device

HALVES = ["float16", "bfloat16"]
N = 5000
half = pytest.mark.parametrize("dtype", HALVES)


def values(dtype, shape=(N, 3), low=0.5, high=1.5):
    """Values that the dtype holds exactly, in that dtype and in float64."""
    drawn = np.random.default_rng(0).uniform(low, high, shape)
    raw = lc.tensor(drawn, dtype=dtype).data
    return raw, raw.astype(np.float64)


def logsumexp(x, axis):
    return np.log(np.exp(x).sum(axis=axis))


def softmax(x, axis):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


REDUCTIONS = {
    "sum": (lambda x: ops.sum(x, axis=0), lambda x: x.sum(axis=0)),
    "sum of all": (ops.sum, lambda x: x.sum()),
    "sum kept": (lambda x: ops.sum(x, axis=(0, 1), keepdims=True), lambda x: x.sum(axis=(0, 1), keepdims=True)),
    "mean": (lambda x: ops.mean(x, axis=0), lambda x: x.mean(axis=0)),
    "mean of all": (ops.mean, lambda x: x.mean()),
    "var": (lambda x: ops.var(x, axis=0), lambda x: x.var(axis=0)),
    "std": (lambda x: ops.std(x, correction=1), lambda x: x.std(ddof=1)),
    "norm": (lambda x: ops.norm(x, axis=0), lambda x: np.linalg.norm(x, axis=0)),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=0), lambda x: logsumexp(x, 0)),
    "logsumexp of all": (ops.logsumexp, lambda x: logsumexp(x, None)),
    "softmax": (lambda x: ops.softmax(x, axis=0), lambda x: softmax(x, 0)),
    "log_softmax": (lambda x: ops.log_softmax(x, axis=0), lambda x: np.log(softmax(x, 0))),
    "cumsum": (lambda x: ops.cumsum(x, axis=0), lambda x: x.cumsum(axis=0)),
    "channel_sum": (ops.channel_sum, lambda x: x.sum(axis=0)),
}


@half
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_of_thousands_of_elements_is_that_of_float64(name, dtype):
    function, reference = REDUCTIONS[name]
    raw, exact = values(dtype)
    if name.startswith("sum of all") or name == "sum kept":
        raw, exact = raw * raw.dtype.type(0.5), exact * 0.5
    out = function(lc.tensor(raw))
    assert out.dtype == raw.dtype
    np.testing.assert_allclose(out.data.astype(np.float64), reference(exact), rtol=1e-2)


@half
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_on_a_device_is_that_of_the_host(name, dtype):
    raw, exact = values(dtype)
    with fake_device():
        on_device = lc.tensor(raw).to("fake")
        out = REDUCTIONS[name][0](on_device)
        assert out.dtype == raw.dtype
        np.testing.assert_allclose(out.numpy().astype(np.float64), REDUCTIONS[name][1](exact), rtol=1e-2)


@half
@pytest.mark.parametrize("function", ["prod", "cumprod"])
def test_a_product_rounds_once(function, dtype):
    raw = lc.tensor(np.where(np.arange(N) % 2, 1.125, 57 / 64), dtype=dtype).data  # pairs of 1.002
    exact = getattr(np, function)(raw.astype(np.float64), axis=0)
    out = getattr(ops, function)(lc.tensor(raw), axis=0)
    assert out.dtype == raw.dtype
    np.testing.assert_allclose(out.data.astype(np.float64), exact, rtol=1e-2)


@half
def test_the_variance_of_large_values_does_not_overflow_on_the_way(dtype):
    raw, exact = values(dtype, (N,), -300, 300)
    np.testing.assert_allclose(float(ops.var(lc.tensor(raw)).data), exact.var(), rtol=1e-2)


@half
def test_gradients_of_logsumexp_add_up_to_one(dtype):
    x = lc.tensor(np.zeros((1, N)), dtype=dtype, requires_grad=True)
    ops.logsumexp(x, axis=1).sum().backward()
    assert x.grad.dtype == x.dtype
    np.testing.assert_allclose(x.grad.data.astype(np.float64).sum(), 1, rtol=1e-2)


@half
def test_bias_and_weight_gradients_of_linear_count_every_row(dtype):
    w = lc.tensor(np.ones((4, 1)), dtype=dtype, requires_grad=True)
    b = lc.tensor(np.zeros(4), dtype=dtype, requires_grad=True)
    ops.linear(lc.tensor(np.ones((N, 1)), dtype=dtype), w, b).sum().backward()
    np.testing.assert_allclose(b.grad.data.astype(np.float64), N, rtol=1e-2)
    np.testing.assert_allclose(w.grad.data.astype(np.float64), N, rtol=1e-2)
    assert b.grad.dtype == b.dtype


@half
def test_the_bias_gradient_of_a_convolution_counts_every_pixel(dtype):
    w = lc.tensor(np.ones((2, 1, 1, 1)), dtype=dtype, requires_grad=True)
    b = lc.tensor(np.zeros(2), dtype=dtype, requires_grad=True)
    ops.conv2d(lc.tensor(np.ones((2, 1, 50, 50)), dtype=dtype), w, b).sum().backward()
    np.testing.assert_allclose(b.grad.data.astype(np.float64), N, rtol=1e-2)


@half
@pytest.mark.parametrize("kernel", [(72, 72), (71, 72)])
def test_average_pooling_of_large_windows_is_that_of_float64(kernel, dtype):
    raw, exact = values(dtype, (1, 2, 72, 72))
    out = ops.avg_pool2d(lc.tensor(raw), kernel, stride=1)
    assert out.dtype == raw.dtype
    expected = np.stack([exact[:, :, i : i + kernel[0]].mean(axis=(2, 3)) for i in range(73 - kernel[0])], axis=2)
    np.testing.assert_allclose(out.data.astype(np.float64)[..., 0], expected, rtol=1e-2)


@half
@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy_over_thousands_of_classes_is_that_of_float64(probabilities, dtype):
    raw, exact = values(dtype, (4, N))
    labels = np.array([0, 7, 4999, 12])
    target = np.full((4, N), 1 / 4096) if probabilities else labels
    x = lc.tensor(raw, requires_grad=True)
    out = ops.cross_entropy(x, lc.tensor(target, dtype=dtype if probabilities else "int64"))
    q = target if probabilities else np.eye(N)[labels]
    np.testing.assert_allclose(out.data.astype(np.float64), -(q * np.log(softmax(exact, 1))).sum(axis=1), rtol=1e-2)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == raw.dtype
    expected = q.sum(axis=1, keepdims=True) * softmax(exact, 1) - q
    np.testing.assert_allclose(x.grad.data.astype(np.float64), expected, rtol=1e-2, atol=1e-6)


@half
def test_losses_of_thousands_of_samples_average_all_of_them(dtype):
    ones, zeros = lc.tensor(np.ones((N, 1)), dtype=dtype), lc.tensor(np.zeros((N, 1)), dtype=dtype)
    np.testing.assert_allclose(float(ops.mean((ones - zeros) ** 2).data), 1, rtol=1e-2)
    rows = ops.cross_entropy(lc.tensor(np.zeros((N, 10)), dtype=dtype), lc.tensor(np.zeros(N, int)))
    np.testing.assert_allclose(float(ops.mean(rows).data), np.log(10), rtol=1e-2)


@half
@pytest.mark.parametrize("read", ["embedding", "getitem", "take_along_axis"])
def test_gradients_of_rows_that_were_read_often_add_up(read, dtype):
    table = lc.tensor(np.ones((2, 2)), dtype=dtype, requires_grad=True)
    places = np.zeros(N, int)
    if read == "embedding":
        out = ops.embedding(lc.tensor(places), table)
    elif read == "getitem":
        out = table[places]
    else:
        out = ops.take_along_axis(table, lc.tensor(np.zeros((N, 2), int)), axis=0)
    out.sum().backward()
    assert table.grad.dtype == table.dtype
    np.testing.assert_allclose(table.grad.data.astype(np.float64), [[N, N], [0, 0]], rtol=1e-2)


def test_only_half_precision_accumulates_in_another_dtype():
    assert wide(np.dtype(np.float16)) is np.float32
    assert wide(np.dtype(ml_dtypes.bfloat16)) is np.float32
    for dtype in (np.float32, np.float64, np.complex64, np.int16, np.uint16, np.int8, bool):
        assert wide(np.dtype(dtype)) is None
