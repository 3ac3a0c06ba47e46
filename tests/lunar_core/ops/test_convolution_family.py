"""Convolution in one, two and three dimensions beyond PyTorch's: layout, half precision, devices, named padding, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.testing.fake_device import fake_device

DIMENSIONS = [1, 2, 3]
SIZES = (7, 6, 5)


def last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def lies_last(x):
    return np.moveaxis(x, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("n", DIMENSIONS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_results_and_gradients_lie_channels_last_and_stay_float32(n, groups, stride):
    rng = np.random.default_rng(0)
    x = lc.Tensor(rng.normal(size=(2, 4, *SIZES[:n])).astype(np.float32), requires_grad=True)
    w = lc.Tensor(rng.normal(size=(8, 4 // groups, *(3,) * n)).astype(np.float32), requires_grad=True)
    b = lc.Tensor(np.ones(8, np.float32), requires_grad=True)
    out = getattr(ops, f"conv{n}d")(x, w, b, stride, 1, 1, groups)
    assert lies_last(out.data)
    h = ops.relu(out)
    (g,) = lc.grad((h * h).sum(), [x], create_graph=True)
    assert lies_last(g.data)
    (h * h).sum().backward()
    assert {out.dtype, x.grad.dtype, w.grad.dtype, b.grad.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("n", DIMENSIONS)
@pytest.mark.parametrize("stride, kernel", [(1, 3), (2, 3), (2, 2), (3, 2), (3, 1)])
def test_transposed_same_padding_multiplies_the_size_by_the_stride(n, stride, kernel):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, *SIZES[:n])), rng.normal(size=(3, 2, *(kernel,) * n))
    y = getattr(ops, f"conv_transpose{n}d")(x, w, stride=stride, padding="same")
    assert y.shape == (2, 2, *(m * stride for m in SIZES[:n]))
    z = rng.normal(size=y.shape)  # the adjoint of the convolution with "same"
    there = getattr(ops, f"conv{n}d")(z, w, stride=stride, padding="same")
    np.testing.assert_allclose((there * x).sum(), (z * y).sum(), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("groups", [1, 256])
def test_half_precision_adds_up_in_float32(dtype, groups):
    ones = lc.tensor(np.ones((1, 256, 8, 9)), dtype=dtype, requires_grad=True)
    w = lc.tensor(np.full((256, 256 // groups, 3, 3), 1.0), dtype=dtype, requires_grad=True)
    x = lc.tensor(np.ones((4, 256, 34, 34)), dtype=dtype, requires_grad=True)
    out = ops.conv2d(ones, w, None, groups=groups)
    taps = 9 * 256 // groups
    assert out.dtype == ones.dtype
    np.testing.assert_allclose(out.data.astype(np.float64), taps, rtol=1e-2)
    (back,) = lc.grad(out, [ones], [lc.tensor(np.ones(out.shape), dtype=dtype)])
    inner = back.data.astype(np.float64)[:, :, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, taps, rtol=1e-2)
    pixels = ops.conv2d(x, w, None, groups=groups)  # 4 * 32 * 32 outputs, each of which the weight's gradient counts
    (g,) = lc.grad(pixels, [w], [lc.tensor(np.ones(pixels.shape), dtype=dtype)])
    assert g.dtype == w.dtype
    np.testing.assert_allclose(g.data.astype(np.float64), 4096, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fold_and_adaptive_means_of_half_precision_add_up_in_float32(dtype):
    columns = lc.tensor(np.ones((1, 4096, 1)), dtype=dtype)
    folded = ops.fold(ops.broadcast_to(columns, (1, 4096, 1)), 64, 64)
    np.testing.assert_array_equal(folded.data.astype(np.float64), 1)
    many = ops.fold(lc.tensor(np.ones((1, 3000, 3000)), dtype=dtype), (1, 5999), (1, 3000))
    np.testing.assert_allclose(float(many.data.max()), 3000, rtol=1e-2)
    wide = lc.tensor(np.full((1, 1, 9001), 1.0), dtype=dtype)
    np.testing.assert_allclose(ops.adaptive_avg_pool1d(wide, 2).data.astype(np.float64), 1, rtol=1e-2)


@pytest.mark.parametrize("n", DIMENSIONS)
def test_the_whole_family_runs_on_a_device_that_refuses_numpy(n):
    rng = np.random.default_rng(0)
    x = lc.tensor(rng.normal(size=(2, 4, *SIZES[:n])), requires_grad=True)
    w = lc.tensor(rng.normal(size=(4, 2, *(3,) * n)), requires_grad=True)
    b = lc.tensor(rng.normal(size=4), requires_grad=True)

    def network(x, w, b):
        h = getattr(ops, f"conv{n}d")(x, w, b, 1, 1, 1, 2)
        h = getattr(ops, f"conv_transpose{n}d")(h, w, None, 2, 1, 1, 1, 2)
        values, places = getattr(ops, f"max_pool{n}d")(h, 2, return_indices=True)
        h = getattr(ops, f"max_unpool{n}d")(values, places, 2)
        h = getattr(ops, f"avg_pool{n}d")(h, 3, 2, 1, True, *(() if n == 1 else (True, 5)))
        h = getattr(ops, f"lp_pool{n}d")(h * h + 1.0, 3.0, 2, 1)
        return getattr(ops, f"adaptive_max_pool{n}d")(h, 2) + getattr(ops, f"adaptive_avg_pool{n}d")(h, 2)

    host = network(x, w, b)
    gradients = lc.grad((host * host).sum(), [x, w, b])
    with fake_device() as device:
        there = [v.detach().to("fake") for v in (x, w, b)]
        there = [lc.Tensor(v.data, requires_grad=True) for v in there]
        out = network(*there)
        moved = lc.grad((out * out).sum(), there)
        assert device.synchronizations == 0
        np.testing.assert_allclose(out.data._a, host.data, rtol=1e-11)
        for a, b in zip(moved, gradients):
            np.testing.assert_allclose(a.data._a, b.data, rtol=1e-10, atol=1e-12)


def test_sequences_use_the_kernel_providers_of_images():
    seen = []

    class Provider:
        name, priority = "counting", 10

        def kernel(self, op, array_type):
            def run(*arrays, **static):
                seen.append(op)
                return NotImplemented

            return run if op in ("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "avg_pool2d") else None

    kernels.add(Provider())
    try:
        x, w = (lc.Tensor(np.ones((1, 1, 6)), requires_grad=True), lc.Tensor(np.ones((1, 1, 2)), requires_grad=True))
        ops.avg_pool1d(ops.conv1d(x, w), 2).sum().backward()
        assert sorted(seen) == ["avg_pool2d", "conv2d", "conv2d_input_grad", "conv2d_weight_grad"]
    finally:
        kernels.reset()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x, w: ops.conv1d(x[0], w), ShapeError, r"conv1d expects sequences of shape \(N, C, L\), got \(4, 9\)"),
        (ops.conv3d, ShapeError, r"conv3d expects volumes of shape \(N, C, D, H, W\)"),
        (lambda x, w: ops.conv1d(x, w[:, :, None]), ShapeError, r"weight must have shape \(O, C / groups, k\)"),
        (lambda x, w: ops.conv1d(x, w, groups=2), ShapeError, "takes images of 8 channels in 2 groups"),
        (lambda x, w: ops.conv1d(x, w, groups=3), ShapeError, "groups=3 must divide the 4 input channels"),
        (lambda x, w: ops.conv1d(x, w, groups=1.0), ShapeError, "groups must be a positive int, got 1.0"),
        (lambda x, w: ops.conv1d(x, w, np.ones(4)), ShapeError, r"bias must have shape \(6,\)"),
        (lambda x, w: ops.conv1d(x, w, stride=0), ShapeError, "stride must be an int at least 1, got 0"),
        (lambda x, w: ops.conv1d(x, w, dilation=(1, 2)), ShapeError, "dilation must be an int"),
        (lambda x, w: ops.conv1d(x, w, padding="full"), ShapeError, "padding must be 'same', 'valid' or numbers"),
        (lambda x, w: ops.conv1d(x[:, :, :2], w), ShapeError, r"kernel \(3,\) is larger than the padded input"),
        (lambda x, w: ops.conv1d(x, w[:, :, :0]), ShapeError, "is empty"),
        (lambda x, w: ops.conv1d(x + 1j, w), DTypeError, "complex images are not supported"),
        (lambda x, w: ops.conv1d([1.0, 2.0], w), DTypeError, "conv1d: expected tensors or arrays, got list"),
        (ops.conv_transpose1d, ShapeError, r"conv_transpose1d: weight .* does not fit images"),
        (lambda x, w: ops.conv_transpose1d(x, w[:4], groups=3), ShapeError, "groups=3 must divide the 4 input"),
        (lambda x, w: ops.conv_transpose1d(x, w[:4], np.ones(3)), ShapeError, r"bias must have shape \(4,\)"),
        (lambda x, w: ops.conv_transpose1d(x, w[:4], output_padding=1), ShapeError, "must be less than the stride"),
        (
            lambda x, w: ops.conv_transpose1d(x, w[:4], stride=2, padding="same", output_padding=1),
            ShapeError,
            "no meaning with padding='same'",
        ),
        (lambda x, w: ops.conv_transpose1d(x, w[:4], padding=9), ShapeError, "leaves nothing of the output"),
        (lambda x, w: ops.conv_transpose2d(x, w[:4]), ShapeError, r"conv_transpose2d expects images of shape"),
    ],
    ids=map(str, range(21)),
)
def test_what_does_not_fit_is_named(call, error, message):
    rng = np.random.default_rng(0)
    with pytest.raises(error, match=message):
        call(rng.normal(size=(2, 4, 9)), rng.normal(size=(6, 4, 3)))
