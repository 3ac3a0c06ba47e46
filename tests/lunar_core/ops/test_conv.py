"""Convolution against its definition, in every memory order, block size and geometry."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.ops import columns
from lunar_core.testing import gradcheck, gradgradcheck


def by_definition(x, w, b, stride, pads, dilation, groups):
    """Four nested loops over the output and one product a window."""
    x = np.pad(x, ((0, 0), (0, 0), *pads))
    (n, _, h, wd), (o, per_group, kh, kw) = x.shape, w.shape
    (sh, sw), (dh, dw) = stride, dilation
    oh, ow = (h - (kh - 1) * dh - 1) // sh + 1, (wd - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((n, o, oh, ow))
    for k, i, j in itertools.product(range(o), range(oh), range(ow)):
        first = k // (o // groups) * per_group
        window = x[
            :,
            first : first + per_group,
            i * sh : i * sh + (kh - 1) * dh + 1 : dh,
            j * sw : j * sw + (kw - 1) * dw + 1 : dw,
        ]
        out[:, k, i, j] = (window * w[k]).sum(axis=(1, 2, 3))
    return out if b is None else out + b.reshape(-1, 1, 1)


def images(rng, shape, order):
    """Random images that lie as ``order`` says: contiguous, channels-last, or as every second pixel of larger ones."""
    n, c, h, w = shape
    if order == "NHWC":
        return rng.normal(size=(n, h, w, c)).transpose(0, 3, 1, 2)
    if order == "strided":
        return rng.normal(size=(n, c, 2 * h, w + 1))[:, :, ::2, 1:]
    return rng.normal(size=shape)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 3), st.sampled_from([1, 2, 3]), st.integers(1, 6), st.integers(1, 3), pairs, pairs, pads, pairs,
    st.tuples(st.integers(5, 9), st.integers(5, 11)), st.sampled_from(["NCHW", "NHWC", "strided"]), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_convolution_and_both_gradients_follow_the_definition(
    n, groups, per_group, outputs, kernel, stride, padding, dilation, size, order, with_bias, seed
):
    rng = np.random.default_rng(seed)
    x = images(rng, (n, groups * per_group, *size), order)
    if any((k - 1) * d + 1 > s + sum(p) for k, d, s, p in zip(kernel, dilation, size, padding)):
        return
    w = rng.normal(size=(groups * outputs, per_group, *kernel))
    b = rng.normal(size=groups * outputs) if with_bias else None
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = by_definition(x, w, b, stride, padding, dilation, groups)
    before = x.copy()
    tx, tw = lc.Tensor(x, requires_grad=True), lc.Tensor(w, requires_grad=True)
    tb = None if b is None else lc.Tensor(b, requires_grad=True)
    out = ops.conv2d(tx, tw, tb, **arguments)
    np.testing.assert_allclose(out.data, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(x, before)
    # the gradients are adjoints: <conv(x, w), g> = <x, grad_x> = <w, grad_w>, tested along a random direction
    g = rng.normal(size=out.shape)
    out.backward(lc.Tensor(g))
    dx, dw = rng.normal(size=x.shape), rng.normal(size=w.shape)
    along_x = (by_definition(dx, w, None, stride, padding, dilation, groups) * g).sum()
    along_w = (by_definition(x, dw, None, stride, padding, dilation, groups) * g).sum()
    np.testing.assert_allclose((tx.grad.data * dx).sum(), along_x, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose((tw.grad.data * dw).sum(), along_w, rtol=1e-8, atol=1e-8)
    if b is not None:
        np.testing.assert_allclose(tb.grad.data, g.sum(axis=(0, 2, 3)), rtol=1e-10)


GEOMETRIES = [
    ((5, 4, 9, 8), (6, 4, 3, 3), {"padding": 1}),
    ((5, 1, 9, 12), (3, 1, 3, 3), {"padding": 1}),
    ((4, 4, 9, 8), (6, 4, 3, 2), {"stride": 2, "padding": 1}),
    ((4, 4, 9, 8), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((4, 4, 9, 8), (8, 1, 3, 3), {"padding": 1, "groups": 4, "stride": 2}),
    ((4, 4, 9, 8), (6, 2, 3, 3), {"padding": 2, "groups": 2, "dilation": 2}),
]


@pytest.mark.parametrize("shape, weight, static", GEOMETRIES)
@pytest.mark.parametrize("limit", [1, 700, 5000])
def test_the_size_of_the_blocks_does_not_change_the_result(monkeypatch, shape, weight, static, limit):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape), rng.normal(size=weight)

    def results():
        tx, tw = lc.Tensor(x, requires_grad=True), lc.Tensor(w, requires_grad=True)
        out = ops.conv2d(tx, tw, None, **static)
        (out * out).sum().backward()
        return out.data, tx.grad.data, tw.grad.data

    whole = results()
    monkeypatch.setattr(columns, "_HOST_BLOCK", limit)
    for a, b in zip(whole, results()):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size, kernel, stride", list(itertools.product([5, 6, 7], [1, 2, 3, 4], [1, 2, 3])))
def test_same_padding_gives_the_size_over_the_stride_rounded_up(size, kernel, stride):
    x, w = np.ones((1, 1, size, size)), np.ones((1, 1, kernel, kernel))
    out = ops.conv2d(x, w, stride=stride, padding="same")
    assert out.shape[2:] == (-(-size // stride),) * 2
    total = max((out.shape[2] - 1) * stride + kernel - size, 0)
    pads = ((total // 2, total - total // 2),) * 2
    np.testing.assert_array_equal(out, by_definition(x, w, None, (stride, stride), pads, (1, 1), 1))


def test_valid_and_the_spellings_of_padding_agree():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 2, 6, 7)), rng.normal(size=(2, 2, 3, 3))
    np.testing.assert_array_equal(ops.conv2d(x, w, padding="valid"), ops.conv2d(x, w))
    one = ops.conv2d(x, w, padding=1)
    for padding in [(1, 1), [1, 1], ((1, 1), (1, 1)), [[1, 1], [1, 1]]]:
        np.testing.assert_array_equal(ops.conv2d(x, w, padding=padding), one)
    np.testing.assert_array_equal(ops.conv2d(x, w, stride=[2, 1]), ops.conv2d(x, w, stride=(2, 1)))


@pytest.mark.parametrize("shape, weight, static", GEOMETRIES)
def test_results_and_gradients_lie_channels_last_and_stay_float32(shape, weight, static):
    rng = np.random.default_rng(0)
    x = lc.Tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True)
    w = lc.Tensor(rng.normal(size=weight).astype(np.float32), requires_grad=True)
    b = lc.Tensor(np.ones(weight[0], np.float32), requires_grad=True)
    out = ops.conv2d(x, w, b, **static)
    assert out.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert ops.relu(out).data.transpose(0, 2, 3, 1).flags.c_contiguous
    out.sum().backward()
    assert {out.dtype, x.grad.dtype, w.grad.dtype, b.grad.dtype} == {np.dtype(np.float32)}


def test_a_1x1_kernel_keeps_the_memory_order_of_its_images():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(5, 3, 1, 1))
    first = ops.conv2d(images(rng, (2, 3, 4, 6), "NCHW"), w)
    last = ops.conv2d(images(rng, (2, 3, 4, 6), "NHWC"), w)
    assert first.flags.c_contiguous
    assert last.transpose(0, 2, 3, 1).flags.c_contiguous


def test_an_empty_batch_gives_empty_results_and_zero_gradients():
    x = lc.Tensor(np.zeros((0, 2, 5, 5)), requires_grad=True)
    w = lc.Tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    for groups, weight in [(1, w), (2, lc.Tensor(np.ones((2, 1, 3, 3)), requires_grad=True))]:
        out = ops.conv2d(x, weight, padding=1, groups=groups)
        assert out.shape == (0, weight.shape[0], 5, 5)
        out.sum().backward()
        assert not weight.grad.data.any()
    assert x.grad.shape == x.shape


def test_gradients_of_gradients_hold_through_a_small_network():
    rng = np.random.default_rng(0)
    x = lc.Tensor(rng.normal(size=(2, 2, 5, 5)), requires_grad=True)
    w1 = lc.Tensor(rng.normal(size=(3, 2, 3, 3)), requires_grad=True)
    w2 = lc.Tensor(rng.normal(size=(2, 3, 2, 2)), requires_grad=True)

    def network(x, w1, w2):
        return ops.conv2d(ops.tanh(ops.conv2d(x, w1, padding=1)), w2, stride=2)

    assert gradcheck(network, [x, w1, w2])
    assert gradgradcheck(network, [x, w1, w2])


def test_third_order_derivatives_are_those_of_a_cube():
    # y = conv(x, w)**3 with one pixel and one weight: d3y / dw3 = 6 x**3
    x = lc.Tensor(np.full((1, 1, 1, 1), 1.5))
    w = lc.Tensor(np.full((1, 1, 1, 1), 0.7), requires_grad=True)
    y = (ops.conv2d(x, w) ** 3).sum()
    for _ in range(3):
        (y,) = lc.grad(y.sum(), [w], create_graph=True)
    np.testing.assert_allclose(y.data.item(), 6 * 1.5**3, rtol=1e-12)


def test_threads_do_not_share_their_working_memory():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 16, 12, 12)), rng.normal(size=(16, 16, 3, 3))
    expected = ops.conv2d(x, w, padding=1)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(ops.conv2d(x, w, padding=1), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_kernel_provider_takes_over_all_three_products():
    seen = []

    class Provider:
        name, priority = "counting", 10

        def kernel(self, op, array_type):
            def run(*arrays, **static):
                seen.append(op)
                return NotImplemented

            return run if op.startswith("conv2d") else None

    kernels.add(Provider())
    try:
        x, w = (
            lc.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True),
            lc.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True),
        )
        ops.conv2d(x, w).sum().backward()
        assert sorted(seen) == ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]
    finally:
        kernels.reset()


@pytest.mark.parametrize(
    "x, w, static, message",
    [
        ((2, 3, 8), (4, 3, 3, 3), {}, r"conv2d expects images of shape \(N, C, H, W\), got \(2, 3, 8\)"),
        ((2, 3, 8, 8), (4, 5, 3, 3), {}, r"takes images of 5 channels, got \(2, 3, 8, 8\)"),
        ((2, 4, 8, 8), (4, 4, 3, 3), {"groups": 2}, "takes images of 8 channels in 2 groups"),
        ((2, 3, 8, 8), (4, 1, 3, 3), {"groups": 2}, "groups=2 must divide the 3 input channels and the 4 output"),
        ((2, 3, 2, 8), (4, 3, 3, 3), {}, r"kernel \(3, 3\) is larger than the padded input"),
        ((2, 3, 4, 4), (4, 3, 3, 3), {"dilation": 2}, r"kernel \(3, 3\) with dilation \(2, 2\) is larger"),
        ((2, 3, 8, 8), (4, 3, 3, 3), {"stride": 0}, "stride must be an int or a pair of ints, each at least 1, got 0"),
        ((2, 3, 8, 8), (4, 3, 3, 3), {"padding": -1}, "padding must be an int or a pair of ints, each at least 0"),
        ((2, 3, 8, 8), (4, 3, 3, 3), {"padding": "half"}, "padding must be 'same', 'valid' or numbers, got 'half'"),
        ((2, 3, 8, 8), (4, 3, 3), {}, "weight must have shape"),
        ((2, 3, 8, 8), (4, 3, 3, 3), {"stride": (1, 2, 3)}, "stride must be an int or a pair"),
    ],
)
def test_what_does_not_fit_is_named(x, w, static, message):
    with pytest.raises(ShapeError, match=message):
        ops.conv2d(lc.Tensor(np.ones(x)), lc.Tensor(np.ones(w)), **static)


def test_a_bias_of_the_wrong_length_and_complex_images_are_refused():
    x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3))
    with pytest.raises(ShapeError, match=r"bias must have shape \(3,\)"):
        ops.conv2d(x, w, np.ones(2))
    with pytest.raises(DTypeError, match="complex"):
        ops.conv2d(x + 1j, w)


@settings(max_examples=40, deadline=None)
@given(pairs, pairs, st.tuples(st.integers(0, 1), st.integers(0, 1)), st.sampled_from([1, 2]), st.integers(0, 99))
def test_conv_transpose2d_is_the_adjoint_of_conv2d(kernel, stride, padding, groups, seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(4, 2 // groups, *kernel))  # of the convolution: 2 -> 4 channels
    x = rng.normal(size=(2, 2, 6, 7))
    if any(p >= k for p, k in zip(padding, kernel)):
        return
    y = ops.conv2d(x, w, stride=stride, padding=padding, groups=groups)
    g = rng.normal(size=y.shape)
    extra = tuple(n - ((o - 1) * s - 2 * p + k) for n, o, s, p, k in zip((6, 7), y.shape[2:], stride, padding, kernel))
    back = ops.conv_transpose2d(g, w, stride=stride, padding=padding, output_padding=extra, groups=groups)
    assert back.shape == x.shape
    np.testing.assert_allclose((y * g).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


def test_conv_transpose2d_refuses_what_does_not_fit():
    x = np.ones((1, 3, 4, 4))
    with pytest.raises(ShapeError, match="does not fit images"):
        ops.conv_transpose2d(x, np.ones((2, 3, 3, 3)))
    with pytest.raises(ShapeError, match="output_padding"):
        ops.conv_transpose2d(x, np.ones((3, 2, 3, 3)), stride=2, output_padding=2)
    with pytest.raises(ShapeError, match="leaves nothing"):
        ops.conv_transpose2d(x, np.ones((3, 2, 1, 1)), padding=4)


def test_conv1d_is_conv2d_over_one_row():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 4, 9)), rng.normal(size=(6, 2, 3)), rng.normal(size=6)
    out = ops.conv1d(x, w, b, stride=2, padding=(1, 2), dilation=2, groups=2)
    expected = by_definition(x[:, :, None], w[:, :, None], b, (1, 2), ((0, 0), (1, 2)), (1, 2), 2)
    np.testing.assert_allclose(out, expected[:, :, 0], rtol=1e-12)
    assert ops.conv1d(x, rng.normal(size=(4, 4, 3)), padding="same").shape == (2, 4, 9)
    with pytest.raises(ShapeError, match=r"conv1d expects sequences of shape \(N, C, L\)"):
        ops.conv1d(x[0], w)


@pytest.mark.parametrize(
    "shape, order", [((3, 4), "NCHW"), ((2, 3, 40), "NCHW"), ((40, 3, 30, 30), "NHWC"), ((2, 3, 5, 6), "NHWC")]
)
def test_channel_sum_adds_all_axes_but_the_second(shape, order):
    rng = np.random.default_rng(0)
    x = images(rng, shape, order) if len(shape) == 4 else rng.normal(size=shape)
    np.testing.assert_allclose(ops.channel_sum(x), x.sum(axis=(0, *range(2, x.ndim))), rtol=1e-10)
