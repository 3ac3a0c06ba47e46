"""Convolution agrees with PyTorch: float64 to 1e-10, and float32 within its rounding, on the shapes of real networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional

CASES = [
    ((4, 1, 28, 28), (16, 1, 3, 3), {"padding": 1}),
    ((4, 16, 14, 14), (32, 16, 3, 3), {"padding": 1}),
    ((2, 3, 33, 31), (8, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 16, 15, 15), (24, 16, 3, 3), {"stride": 2, "padding": 1}),
    ((2, 16, 9, 9), (32, 16, 1, 1), {}),
    ((2, 16, 9, 9), (32, 16, 1, 1), {"stride": 2}),
    ((2, 12, 9, 9), (12, 1, 5, 5), {"padding": 2, "groups": 12}),
    ((2, 12, 9, 9), (24, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 12}),
    ((2, 12, 9, 9), (24, 1, 3, 3), {"padding": 1, "groups": 12}),
    ((2, 16, 9, 9), (32, 4, 3, 3), {"padding": 1, "groups": 4}),
    ((2, 16, 9, 9), (32, 4, 3, 3), {"stride": 3, "padding": 1, "groups": 4}),
    ((2, 8, 17, 17), (8, 8, 3, 3), {"dilation": 3, "padding": 3}),
    ((2, 3, 16, 16), (32, 3, 4, 4), {"stride": 4}),
    ((3, 64, 6, 6), (96, 64, 3, 3), {"padding": 1}),
]


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-4)])
@pytest.mark.parametrize("shape, weight, static", CASES)
def test_conv2d_agrees(shape, weight, static, dtype, tolerance):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(dtype) for s in (shape, weight, weight[:1])]
    ours = [lc.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    out, expected = ops.conv2d(*ours, **static), functional.conv2d(*theirs, **static)
    seed = rng.normal(size=out.shape).astype(dtype)
    out.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    for a, b in [(out.data, expected.detach()), *((x.grad.data, t.grad) for x, t in zip(ours, theirs))]:
        b = b.numpy()
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (5, 1)])
def test_named_padding_agrees(padding, kernel):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 8, 9)), rng.normal(size=(4, 3, *kernel))
    expected = functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=padding, dilation=(1, 2))
    np.testing.assert_allclose(
        ops.conv2d(x, w, padding=padding, dilation=(1, 2)), expected.numpy(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    "static",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": (2, 3), "padding": (1, 0), "output_padding": (0, 2), "groups": 2},
        {"padding": 1, "dilation": 2},
        {"stride": 2, "dilation": (2, 1), "groups": 4},
    ],
)
def test_conv_transpose2d_agrees(static):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((2, 4, 5, 6), (4, 3, 3, 3), (3 * static.get("groups", 1),))]
    ours = [lc.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.from_numpy(a).requires_grad_() for a in arrays]
    out, expected = ops.conv_transpose2d(*ours, **static), functional.conv_transpose2d(*theirs, **static)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    (out**2).sum().backward()
    (expected**2).sum().backward()
    for x, t in zip(ours, theirs):
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-9, atol=1e-10)


def test_conv1d_agrees():
    rng = np.random.default_rng(0)
    x, w, b = (torch.from_numpy(rng.normal(size=s)) for s in ((2, 4, 11), (6, 2, 3), (6,)))
    static = {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}
    np.testing.assert_allclose(
        ops.conv1d(x.numpy(), w.numpy(), b.numpy(), **static), functional.conv1d(x, w, b, **static).numpy(), rtol=1e-10
    )


def test_a_gradient_penalty_through_a_convolution_agrees():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((2, 3, 6, 6), (4, 3, 3, 3), (2, 4, 2, 2))]
    ours = [lc.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.from_numpy(a).requires_grad_() for a in arrays]

    def penalty(x, w1, w2, conv, tanh, grad):
        y = conv(tanh(conv(x, w1, None, 1, 1)), w2, None, 2).sum()
        (g,) = grad(y, [x], create_graph=True)
        return ((g * g).sum() - 1) ** 2

    a = penalty(*ours, ops.conv2d, ops.tanh, lc.grad)
    b = penalty(*theirs, functional.conv2d, torch.tanh, torch.autograd.grad)
    a.backward()
    b.backward()
    np.testing.assert_allclose(a.item(), b.item(), rtol=1e-10)
    for x, t in zip(ours, theirs):
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-8, atol=1e-8)
